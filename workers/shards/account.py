"""The account of an epoch's rows: each row is used once, and none is dropped.

N rows of a shard.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.errors import RowAccountError


class RowAccount:
    """The counts of how often each row of the hosted shards is used in one epoch."""

    def __init__(self, epoch: int, sizes: Mapping[int, int]) -> None:
        """Begin the account of an epoch.

        Args:
            epoch: the number of the epoch, counted from 1.
            sizes: the number of rows of each shard.
        """
        self._epoch = epoch
        self._visits_N = {shard: np.zeros(size, np.uint8) for shard, size in sizes.items()}

    def use(self, shard: int, rows: NDArray[np.int64]) -> None:
        """Count these rows of a hosted shard as used once more."""
        np.add.at(self._visits_N[shard], rows, 1)

    def counts(self) -> list[list[int]]:
        """Return, for each hosted shard, how many of its rows were used, used more than once, and
        never used."""
        return [
            [int((v > 0).sum()), int((v > 1).sum()), int((v == 0).sum())]
            for v in self._visits_N.values()
        ]

    def close(
        self, counts: Sequence[float], num_counted: int, num_rows: int, whole: bool
    ) -> dict[str, Any]:
        """Check the epoch and return its account.

        Args:
            counts: the sums of `counts()` over the shards of all workers.
            num_counted: how many rows went into the epoch's steps.
            num_rows: how many rows the training split has.
            whole: whether the epoch ran to its end.

        Raises:
            RowAccountError: a row was used twice or never, or rows are missing.
        """
        once, twice, never = (int(count) for count in counts)
        if twice or (whole and never) or num_counted != once or once + never != num_rows:
            raise RowAccountError(
                f"epoch {self._epoch} used {num_counted} rows: {twice} of them twice, and "
                f"{never} of the {num_rows} rows never"
            )
        return {
            "rows_seen": once,
            "rows_seen_twice": twice,
            "rows_dropped": never if whole else 0,
            "rows_not_reached": 0 if whole else never,
        }
