"""The account of an epoch's rows: each used once, none dropped.

N rows of a shard.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from workers.errors import RowAccountError
from workers.worker import Worker


class RowAccount:
    """Counts how often each row of the hosted shards is used in one epoch."""

    def __init__(self, epoch: int, orders: dict[int, NDArray[np.int64]], num_done: int) -> None:
        """`orders`: by shard, its rows in the order of the epoch (counted from 1); the first
        `num_done` of each were used before a restart."""
        self._epoch = epoch
        self._visits_N = {shard: np.zeros(len(order), np.uint8) for shard, order in orders.items()}
        for shard, order in orders.items():
            self.use(shard, order[:num_done])

    def use(self, shard: int, rows: NDArray[np.int64]) -> None:
        np.add.at(self._visits_N[shard], rows, 1)

    def close(self, worker: Worker, num_counted: int, num_rows: int, whole: bool) -> dict[str, Any]:
        """Adds up over all workers, which must all call it.

        Args:
            num_counted: rows that went into the epoch's steps.
            num_rows: rows of the training split.
            whole: whether the epoch ran to its end.

        Raises:
            RowAccountError: a row was used twice or never, or rows are missing.
        """
        counts_LK = [
            [int((v > 0).sum()), int((v > 1).sum()), int((v == 0).sum())]
            for v in self._visits_N.values()
        ]
        rows_LK = torch.tensor(counts_LK, dtype=torch.float64, device=worker.device)
        once, twice, never = (int(n) for n in worker.gather(rows_LK).sum(dim=0).tolist())
        if twice or (whole and never) or num_counted != once or once + never != num_rows:
            raise RowAccountError(
                f"epoch {self._epoch} used {num_counted} rows: {twice} of them twice, "
                f"{never} of {num_rows} never"
            )
        return {
            "rows_seen": once,
            "rows_seen_twice": twice,
            "rows_dropped": never if whole else 0,
            "rows_not_reached": 0 if whole else never,
        }
