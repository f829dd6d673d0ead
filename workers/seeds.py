"""Seeds for everything random, as functions of the job's seed and of where a number is used.

Two uses of randomness never share a stream, and no stream depends on the number of workers.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What random numbers are drawn for. It keeps the streams of one job's seed apart."""

    INIT = 0
    """The first weights of the model."""
    ORDER = 1
    """The order of a shard's rows in an epoch."""
    STEP = 2
    """Dropout and augmentation inside a step."""
    BLOCKS = 3
    """The order of a shard's blocks in an epoch, if its rows come in windows."""
    WINDOW = 4
    """The order of the rows within a window."""


def stream(seed: int, purpose: Purpose, *where: int) -> np.random.SeedSequence:
    """Return the seed of one stream. `where` says which one, for example (epoch, shard)."""
    return np.random.SeedSequence((seed, int(purpose), *where))


def seed_of(seed: int, purpose: Purpose, *where: int) -> int:
    """Return `stream` as one number below 2**63, which is what torch's generators take."""
    return int(stream(seed, purpose, *where).generate_state(1, np.uint64)[0] >> np.uint64(1))
