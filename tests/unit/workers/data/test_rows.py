"""Rows of different lengths: taking, splitting, padding, joining."""

import weakref
from collections.abc import Iterator

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.unit.workers.data.data_sets import CLASSES, TOKENS, VECTORS, random_rows, shape_of
from workers.data.kinds import DataShape
from workers.data.rows import Rows, collected, joined

SHAPES = st.sampled_from([shape_of(VECTORS, CLASSES), shape_of(TOKENS, CLASSES)])
NUMBERS = st.integers(1, 12)


def as_lists(rows: Rows) -> list[tuple[Tensor, int]]:
    """Return the inputs and the target of each row, without padding."""
    batch = rows.batch()
    assert batch.lengths_N is not None
    each = zip(batch.inputs, batch.targets_N.tolist(), batch.lengths_N.tolist(), strict=True)
    return [(inputs[:length], target) for inputs, target, length in each]


def assert_same(found: list[tuple[Tensor, int]], wanted: list[tuple[Tensor, int]]) -> None:
    assert [target for _, target in found] == [target for _, target in wanted]
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, wanted, strict=True))


@given(SHAPES, NUMBERS, st.data())
def test_rows_are_taken_in_any_order_and_more_than_once(
    shape: DataShape, number: int, data: st.DataObject
) -> None:
    rows = random_rows(shape, number)
    index = data.draw(st.lists(st.integers(0, number - 1), min_size=1, max_size=20))
    wanted = [as_lists(rows)[place] for place in index]
    assert_same(as_lists(rows.take(torch.tensor(index))), wanted)
    padded = rows.padded(20).take(torch.tensor(index))
    assert_same(as_lists(padded), wanted)


@given(SHAPES, NUMBERS, st.integers(1, 5))
def test_pieces_joined_are_the_rows_again(shape: DataShape, number: int, most: int) -> None:
    for rows in (random_rows(shape, number), random_rows(shape, number).padded(9)):
        pieces = rows.pieces(most)
        assert [len(piece) for piece in pieces[:-1]] == [most] * (len(pieces) - 1)
        assert_same([row for piece in pieces for row in as_lists(piece)], as_lists(rows))
        for together in (joined(pieces), collected(pieces, number)):
            assert all(
                torch.equal(a, b) for a, b in zip(together.tensors, rows.tensors, strict=True)
            )


def test_a_part_is_gone_before_the_next_one_is_made() -> None:
    def parts() -> Iterator[Rows]:
        before: list[weakref.ref[Tensor]] = []
        for number in range(4):
            assert not any(part() is not None for part in before)
            inputs = torch.full((3, 2, 1), float(number))
            before.append(weakref.ref(inputs))
            yield Rows(inputs, torch.zeros(3))
            del inputs

    expected = [float(number) for number in range(4) for _ in range(3)]
    assert collected(parts(), 12).inputs[:, 0, 0].tolist() == expected


@given(SHAPES, NUMBERS)
def test_padding_is_zero_and_goes_to_the_longest_row(shape: DataShape, number: int) -> None:
    rows = random_rows(shape, number)
    batch = rows.batch()
    assert batch.lengths_N is not None
    assert batch.inputs.shape[:2] == (number, int(batch.lengths_N.max()))
    for inputs, length in zip(batch.inputs, batch.lengths_N.tolist(), strict=True):
        assert not inputs[length:].any()


def test_no_rows_have_no_pieces() -> None:
    rows = random_rows(shape_of(VECTORS, CLASSES), 3)
    assert rows.take(torch.tensor([], dtype=torch.int64)).pieces(4) == []
