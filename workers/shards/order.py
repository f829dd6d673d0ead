"""Which rows make up a step, and which worker hosts which shard: pure functions without state.

The n rows of a split are dealt out to S shards like cards: row i belongs to shard i mod S. Shards
therefore differ by one row at most, and each is a fair sample even of a file sorted by label. The
rows of a step depend only on (seed, epoch, shard) and on sizes, never on the number of workers.
"""

import numpy as np
from numpy.typing import NDArray

from workers.seeds import Purpose, stream


def shard_rows(num_rows: int, num_shards: int, shard: int) -> range:
    """Return the row numbers of `shard` within its split, in the order of storage."""
    return range(shard, num_rows, num_shards)


def hosted_shards(num_shards: int, num_workers: int, rank: int) -> range:
    """Return the shards that a rank hosts.

    They are neighbours, so that joining the rows of all ranks in rank order gives shard order.
    Ranks differ by one shard at most. Raises ValueError if no shards can be assigned to the rank.
    """
    if not 0 <= rank < num_workers <= num_shards:
        raise ValueError(
            f"cannot assign shards to rank {rank} of {num_workers} workers over {num_shards} shards"
        )
    return range(rank * num_shards // num_workers, (rank + 1) * num_shards // num_workers)


def most_shards(num_shards: int, num_workers: int) -> int:
    """Return the shards of the worker that hosts most, which bounds the speed."""
    return -(-num_shards // num_workers)


def steps_per_epoch(num_rows: int, num_shards: int, rows_per_shard_step: int) -> int:
    """Return the number of steps until the longest shard is read. The last step may be smaller."""
    longest = -(-num_rows // num_shards)
    return -(-longest // rows_per_shard_step)


def epoch_order(seed: int, epoch: int, shard: int, num_shard_rows: int) -> NDArray[np.int64]:
    """Return the order of a shard's rows in one epoch: a permutation of range(num_shard_rows).

    It comes from raw Philox words and a stable sort, which numpy promises never to change. numpy's
    `permutation` has no such promise. For `dataset.window` see `workers.shards.windows`.
    """
    return drawn_order(stream(seed, Purpose.ORDER, epoch, shard), num_shard_rows)


def drawn_order(seeds: np.random.SeedSequence, number: int) -> NDArray[np.int64]:
    """Return a permutation of range(number), the same for ever."""
    words = np.random.Philox(seeds).random_raw(number)
    return np.argsort(words, kind="stable").astype(np.int64)


def by_length(
    order: NDArray[np.int64], lengths: NDArray[np.int64], rows_per_shard_step: int
) -> NDArray[np.int64]:
    """Return an order in which the rows of each step of a shard begin with the shortest.

    Rows that are computed together are padded to the longest of them, so little is padded. Which
    rows make up a step does not change. `lengths`: the time steps of each row of the shard.
    """
    steps = np.arange(len(order)) // rows_per_shard_step
    return order[np.lexsort((lengths[order], steps))]


def step_rows(order: NDArray[np.int64], step: int, rows_per_shard_step: int) -> NDArray[np.int64]:
    """Return the rows of one shard in step `step` (from 0) of an epoch.

    The last step has fewer rows, or none.
    """
    return order[step * rows_per_shard_step : (step + 1) * rows_per_shard_step]
