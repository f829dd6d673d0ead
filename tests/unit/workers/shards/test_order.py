"""Which rows make up a step, and which worker hosts which shard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.seeds import Purpose, seed_of
from workers.shards.order import (
    epoch_order,
    hosted_shards,
    shard_rows,
    step_rows,
    steps_per_epoch,
)

ROWS = st.integers(0, 300)
SHARDS = st.integers(1, 12)
PER_STEP = st.integers(1, 40)


def rows_of_step(
    num_rows: int, shards: range, num_shards: int, per_step: int, epoch: int, step: int
) -> list[int]:
    """Return the row numbers within the split that `shards` add to a step."""
    rows = []
    for shard in shards:
        inside = shard_rows(num_rows, num_shards, shard)
        order = epoch_order(7, epoch, shard, len(inside))
        rows += [inside[i] for i in step_rows(order, step, per_step).tolist()]
    return rows


@given(ROWS, SHARDS)
def test_every_row_belongs_to_exactly_one_shard(num_rows: int, num_shards: int) -> None:
    dealt = [row for s in range(num_shards) for row in shard_rows(num_rows, num_shards, s)]
    assert sorted(dealt) == list(range(num_rows))


@given(ROWS, SHARDS)
def test_shards_differ_by_one_row_at_most(num_rows: int, num_shards: int) -> None:
    sizes = [len(shard_rows(num_rows, num_shards, s)) for s in range(num_shards)]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


@given(ROWS, SHARDS, PER_STEP, st.integers(0, 3))
def test_every_row_is_used_once_in_an_epoch(
    num_rows: int, num_shards: int, per_step: int, epoch: int
) -> None:
    used = []
    for step in range(steps_per_epoch(num_rows, num_shards, per_step)):
        row_numbers = rows_of_step(num_rows, range(num_shards), num_shards, per_step, epoch, step)
        assert row_numbers, "a step without rows"
        used += row_numbers
    assert sorted(used) == list(range(num_rows))


@given(ROWS, SHARDS, PER_STEP, st.data())
def test_a_restart_in_mid_epoch_neither_drops_nor_repeats_a_row(
    num_rows: int, num_shards: int, per_step: int, data: st.DataObject
) -> None:
    steps = steps_per_epoch(num_rows, num_shards, per_step)
    restart = data.draw(st.integers(0, steps))
    before = data.draw(st.integers(1, num_shards), label="workers before")
    after = data.draw(st.integers(1, num_shards), label="workers after")
    used = []
    for step in range(steps):
        workers = before if step < restart else after
        for rank in range(workers):
            hosted = hosted_shards(num_shards, workers, rank)
            used += rows_of_step(num_rows, hosted, num_shards, per_step, 1, step)
    assert sorted(used) == list(range(num_rows))


@given(ROWS, SHARDS, PER_STEP, st.data())
def test_the_rows_of_a_step_and_their_order_do_not_depend_on_the_workers(
    num_rows: int, num_shards: int, per_step: int, data: st.DataObject
) -> None:
    workers = data.draw(st.integers(1, num_shards))
    for step in range(steps_per_epoch(num_rows, num_shards, per_step)):
        alone = rows_of_step(num_rows, range(num_shards), num_shards, per_step, 0, step)
        joined = []
        for rank in range(workers):
            hosted = hosted_shards(num_shards, workers, rank)
            joined += rows_of_step(num_rows, hosted, num_shards, per_step, 0, step)
        assert joined == alone


@given(SHARDS, st.data())
def test_hosted_shards_are_neighbours_and_sizes_differ_by_one_at_most(
    num_shards: int, data: st.DataObject
) -> None:
    workers = data.draw(st.integers(1, num_shards))
    hosted = [hosted_shards(num_shards, workers, rank) for rank in range(workers)]
    assert [shard for rank_shards in hosted for shard in rank_shards] == list(range(num_shards))
    sizes = {len(rank_shards) for rank_shards in hosted}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("shards", "workers", "rank"), [(4, 5, 0), (4, 2, 2), (4, 2, -1)])
def test_an_impossible_rank_or_worker_count_is_refused_with_its_numbers(
    shards: int, workers: int, rank: int
) -> None:
    with pytest.raises(ValueError, match=f"rank {rank} of {workers} workers over {shards} shards"):
        hosted_shards(shards, workers, rank)


@pytest.mark.parametrize(
    ("rows", "shards", "per_step", "steps"),
    [
        (55_000, 8, 64, 108),
        (26, 4, 3, 3),
        (24, 4, 3, 2),
        (25, 4, 3, 3),
        (1, 8, 64, 1),
        (8, 8, 1, 1),
    ],
)
def test_steps_of_an_epoch_last_until_the_longest_shard_is_read(
    rows: int, shards: int, per_step: int, steps: int
) -> None:
    assert steps_per_epoch(rows, shards, per_step) == steps


@given(st.integers(0, 2**63 - 1), st.integers(0, 5), st.integers(0, 5), st.integers(0, 200))
def test_the_order_of_an_epoch_is_a_permutation(
    seed: int, epoch: int, shard: int, size: int
) -> None:
    order = epoch_order(seed, epoch, shard, size)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(size))


def test_the_order_depends_on_seed_epoch_and_shard() -> None:
    orders = {
        (seed, epoch, shard): tuple(epoch_order(seed, epoch, shard, 50).tolist())
        for seed in (0, 1)
        for epoch in (0, 1)
        for shard in (0, 1)
    }
    assert len(set(orders.values())) == 8


def test_the_bits_of_the_order_never_change() -> None:
    """If this fails, a run from an older version would go on with other rows."""
    assert epoch_order(0, 0, 0, 8).tolist() == [3, 7, 4, 2, 1, 6, 5, 0]
    assert epoch_order(3, 2, 1, 8).tolist() == [3, 4, 6, 0, 5, 1, 2, 7]


def test_the_bits_of_seeds_never_change() -> None:
    assert seed_of(0, Purpose.INIT) == 7_896_617_691_693_857_887
    assert seed_of(5, Purpose.STEP, 1, 2, 3, 4) == 2_186_731_761_681_391_862


def test_no_two_uses_of_randomness_share_a_seed() -> None:
    small = range(3)
    uses: list[tuple[Purpose, tuple[int, ...]]] = [(Purpose.INIT, ())]
    uses += [(Purpose.ORDER, (e, s)) for e in small for s in small]
    uses += [
        (Purpose.STEP, (e, k, s, p)) for e in small for k in small for s in small for p in small
    ]
    seeds = {seed_of(seed, purpose, *where) for seed in small for purpose, where in uses}
    assert len(seeds) == 3 * len(uses)
    assert all(0 <= seed < 2**63 for seed in seeds)
