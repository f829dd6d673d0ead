"""Which rows make up a step, and which worker hosts which shard. Pure rules, no state.

A split of n rows is dealt out to S shards like cards: row i belongs to shard i mod S. Shards so
differ by one row at most, and each is a fair sample even of a file sorted by label. Everything
below depends on (seed, epoch, shard) and sizes alone, never on the number of workers.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray


class Purpose(IntEnum):
    """Keeps random streams of one seed apart."""

    INIT = 0
    ORDER = 1
    STEP = 2


def stream(seed: int, purpose: Purpose, *where: int) -> np.random.SeedSequence:
    """The seed of one use of randomness: `where` is, say, (epoch, shard)."""
    return np.random.SeedSequence((seed, int(purpose), *where))


def seed_of(seed: int, purpose: Purpose, *where: int) -> int:
    """`stream` as one number below 2**63, for generators of torch."""
    return int(stream(seed, purpose, *where).generate_state(1, np.uint64)[0] >> np.uint64(1))


def shard_rows(num_rows: int, num_shards: int, shard: int) -> range:
    """Row numbers of `shard` within its split, in the order in which the shard stores them."""
    return range(shard, num_rows, num_shards)


def hosted_shards(num_shards: int, num_workers: int, rank: int) -> range:
    """Neighbouring shards for each rank, sizes differing by one at most: joining the ranks' rows
    in rank order gives shard order."""
    if not 0 <= rank < num_workers <= num_shards:
        raise ValueError(f"rank {rank} of {num_workers} workers over {num_shards} shards")
    return range(rank * num_shards // num_workers, (rank + 1) * num_shards // num_workers)


def steps_per_epoch(num_rows: int, num_shards: int, rows_per_shard_step: int) -> int:
    """Steps until the longest shard is read; the last one is smaller."""
    longest = -(-num_rows // num_shards)
    return -(-longest // rows_per_shard_step)


def epoch_order(seed: int, epoch: int, shard: int, num_shard_rows: int) -> NDArray[np.int64]:
    """The order of a shard's rows in one epoch: a permutation of range(num_shard_rows).

    Built from raw Philox words and a stable sort, which numpy promises never to change; its
    `permutation` carries no such promise.
    """
    words = np.random.Philox(stream(seed, Purpose.ORDER, epoch, shard)).random_raw(num_shard_rows)
    return np.argsort(words, kind="stable").astype(np.int64)


def step_rows(order: NDArray[np.int64], step: int, rows_per_shard_step: int) -> NDArray[np.int64]:
    """Rows of one shard in step `step` (from 0) of an epoch; fewer, or none, in the last."""
    return order[step * rows_per_shard_step : (step + 1) * rows_per_shard_step]
