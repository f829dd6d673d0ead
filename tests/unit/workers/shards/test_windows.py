"""The order of rows within windows is a function of seed, epoch, shard and window alone."""

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.shards.windows import MOST_BLOCK_ROWS, WindowedOrder, block_rows, order_of

orders = st.builds(
    WindowedOrder,
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 1000),
    shard=st.integers(0, 100),
    num_rows=st.integers(1, 3000),
    window=st.integers(1, 4000),
)


@given(orders)
def test_an_order_is_a_permutation(order: WindowedOrder) -> None:
    rows = order.rows()
    assert sorted(rows.tolist()) == list(range(len(rows)))


@given(st.integers(1, 3000), st.integers(1, 4000), st.integers(0, 50))
def test_windows_follow_each_other_and_none_is_too_large(
    num_rows: int, window: int, seed: int
) -> None:
    order = WindowedOrder(seed, 0, 0, num_rows, window)
    at = 0
    for number in range(order.num_windows):
        found = order.window(number)
        assert found.positions.start == at == order.positions(number).start
        assert len(found.positions) == sum(map(len, found.blocks)) <= window
        in_blocks = {row for block in found.blocks for row in block}
        assert set(found.row_numbers().tolist()) == in_blocks
        at = found.positions.stop
    assert at == num_rows


@given(orders, st.data())
def test_the_rows_from_a_position_on_are_the_end_of_the_whole_order(
    order: WindowedOrder, data: st.DataObject
) -> None:
    whole = order.rows()
    number = data.draw(st.integers(0, order.num_windows - 1))
    at = order.positions(number)
    found = [order.window(each).row_numbers() for each in range(number, order.num_windows)]
    assert np.array_equal(np.concatenate(found), whole[at.start :])


@given(st.integers(1, 10**7))
def test_blocks_fit_each_other_and_the_window(window: int) -> None:
    rows = block_rows(window)
    assert MOST_BLOCK_ROWS % rows == 0
    assert rows <= window
    assert rows == MOST_BLOCK_ROWS or window // rows >= 8 or window < 8


def test_epochs_shards_and_seeds_have_orders_of_their_own() -> None:
    variants = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    found = {tuple(order_of(*variant, 500, 64).tolist()) for variant in variants}
    assert len(found) == 4


def test_a_window_mixes_rows_of_distant_blocks() -> None:
    first = WindowedOrder(0, 0, 0, 64 * 1024, 8 * 1024).window(0)
    assert len({block.start // MOST_BLOCK_ROWS for block in first.blocks}) == 8
    assert max(b.start for b in first.blocks) - min(b.start for b in first.blocks) > 16 * 1024


def test_the_order_never_changes() -> None:
    """Runs with a window depend on these bits."""
    rows = WindowedOrder(7, 3, 2, 5000, 1000).rows()
    assert hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()[:16] == "0c3ff6120cce0ff3"
