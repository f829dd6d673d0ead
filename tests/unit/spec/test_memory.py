"""Whether rows are held or streamed, and what is said if neither fits the memory budget."""

from pathlib import Path

import pytest

from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.memory import is_streamed
from tests.unit.datasets.idx_files import write_idx_files
from workers.errors import InputError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """4 shards of 275 training rows of 12 pixels."""
    folder = tmp_path_factory.mktemp("data")
    write_idx_files(folder / "idx", 1200, 40)
    return prepare("mnist", folder / "idx", num_shards=4, cache=folder / "cache")


def spec(budget: int, window: int | None = None) -> JobSpec:
    return JobSpec().with_values(
        {
            "dataset.num_shards": 4,
            "dataset.memory_budget": budget,
            "dataset.window": window,
            "training.global_batch_size": 16,
        }
    )


def held_bytes(data: PreparedData) -> int:
    return sum(data.num_bytes(split) for split in ("train", "validation", "test"))


def test_rows_that_fit_are_held_with_or_without_a_window(data: PreparedData) -> None:
    needed = held_bytes(data)
    assert not is_streamed(spec(needed), data, 1)
    assert not is_streamed(spec(needed, 64), data, 1)
    assert not is_streamed(spec(needed // 2), data, 2)


def test_rows_above_the_budget_are_streamed_if_there_is_a_window(data: PreparedData) -> None:
    needed = held_bytes(data)
    assert is_streamed(spec(needed - 1, 64), data, 1)
    assert is_streamed(spec(needed // 2 - 1, 64), data, 3)  # 4 shards for 3 workers: one hosts two


def test_without_a_window_the_largest_that_fits_is_named(data: PreparedData) -> None:
    of_row = data.num_bytes("train") // 1100
    with pytest.raises(InputError) as caught:
        is_streamed(spec(2 * 4 * 64 * of_row), data, 1)
    assert caught.value.cause.startswith("a worker would hold ")
    assert "above dataset.memory_budget" in caught.value.cause
    assert caught.value.cure == (
        "stream them: --set dataset.window=64, or take more workers (now 1), or "
        "--set dataset.memory_budget=1MiB"
    )


def test_a_budget_too_small_for_one_window_is_refused(data: PreparedData) -> None:
    of_row = data.num_bytes("train") // 1100
    budget = 2 * 4 * 32 * of_row
    assert is_streamed(spec(budget, 32), data, 1)
    with pytest.raises(InputError) as caught:
        is_streamed(spec(budget, 33), data, 1)
    assert caught.value.cause.startswith("2 windows of 33 rows for each of 4 shards would take ")
    assert "--set dataset.window=32" in caught.value.cure
    assert is_streamed(spec(budget, 33), data, 2)


def test_a_budget_in_which_not_even_a_step_fits_proposes_no_window(data: PreparedData) -> None:
    with pytest.raises(InputError) as caught:
        is_streamed(spec(10), data, 1)
    assert caught.value.cure.startswith("take more workers (now 1)")


def test_a_window_below_the_rows_of_a_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dataset\.window 3 is below the 4 rows") as caught:
        spec(10, 3)
    assert "--set dataset.window=64" in str(caught.value)


def test_a_window_is_part_of_the_fingerprint_and_none_changes_nothing(tmp_path: Path) -> None:
    without, with_window = spec(10), spec(10, 64)
    assert without.fingerprint("d") == JobSpec().with_values(
        {"dataset.num_shards": 4, "training.global_batch_size": 16}
    ).fingerprint("d")
    assert with_window.fingerprint("d") != without.fingerprint("d")
    assert with_window.fingerprint("d") == spec(10**9, 64).fingerprint("d")
