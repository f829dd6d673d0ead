"""Items on several threads: their results come in order, and few items are read ahead."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from workers.models.cpu_kernels import flushes_denormals
from workers.trained.in_order import in_order


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_if_even(item: int) -> int:
        time.sleep(0.01 if item % 2 == 0 else 0)
        return item * item

    assert list(in_order(slow_if_even, range(50), 4)) == [n * n for n in range(50)]


def test_few_items_are_read_ahead() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(1000):
            read = item
            yield item

    results = in_order(lambda item: item, items(), 2)
    assert next(results) == 0
    assert read < 10
    results.close()  # type: ignore[attr-defined]


def test_each_call_computes_alone() -> None:
    def seen(_: int) -> tuple[int, bool]:
        return torch.get_num_threads(), flushes_denormals()

    assert set(in_order(seen, range(20), 3)) == {(1, True)}
    assert not flushes_denormals(), "the caller's own thread stays as it is"


def test_an_error_comes_at_its_place_and_ends_the_threads() -> None:
    def fail_at_three(item: int) -> int:
        if item == 3:
            raise ValueError("three")
        return item

    seen = []
    with pytest.raises(ValueError, match="three"):
        for result in in_order(fail_at_three, range(100), 2):
            seen.append(result)
    assert seen == [0, 1, 2]
    assert not [t for t in threading.enumerate() if t.name.startswith("predict")]
