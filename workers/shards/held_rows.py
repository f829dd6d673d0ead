"""The rows that a worker holds, and which of them make up each step of an epoch.

N rows, H height, W width.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from workers.config import SPLITS, TrainJob
from workers.errors import DataError
from workers.shards.account import RowAccount
from workers.shards.order import epoch_order, shard_rows, step_rows
from workers.shards.rows import Rows, ShardData, joined

_HOST = torch.device("cpu")
_SHARE_OF_GPU = 0.5
"""The share of a GPU's free memory that rows may take. The rest is for the training itself."""


class HeldRows:
    """All splits of the shards that one worker hosts: on its device, or beside a GPU without room.

    In the latter case, the rows of a step are copied to the GPU while it computes.
    """

    def __init__(
        self,
        job: TrainJob,
        shards: range,
        load_shard: Callable[[int], ShardData],
        device: torch.device,
    ) -> None:
        """Load the shards. Raises DataError if a shard does not hold as many rows as it should."""
        self._job = job
        started = time.perf_counter()
        loaded = {shard: load_shard(shard) for shard in shards}
        self.load_s = time.perf_counter() - started
        _check_sizes(job, loaded)
        all_rows = [rows for by_split in loaded.values() for rows in by_split.values()]
        num_bytes = sum(rows.num_bytes for rows in all_rows)
        where = device if device.type != "cuda" or fits_gpu(device, num_bytes) else _HOST
        self._is_streamed = where != device
        self._train = joined([rows["train"] for rows in loaded.values()]).to(where)
        parts = self._train.split([len(rows["train"]) for rows in loaded.values()])
        self.shards = {
            shard: {split: rows[split].to(where) for split in SPLITS if split != "train"}
            | {"train": part}
            for (shard, rows), part in zip(loaded.items(), parts, strict=True)
        }

    def epoch(self, epoch: int, steps_done: int) -> "EpochRows":
        """Return the rows of epoch `epoch` (from 0). `steps_done`: its steps before a restart."""
        sizes = {shard: len(rows["train"]) for shard, rows in self.shards.items()}
        return EpochRows(self._job, self._train, sizes, epoch, steps_done, self._is_streamed)


def fits_gpu(device: torch.device, num_bytes: int) -> bool:
    """Return whether a GPU has room for so many bytes of rows."""
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= free * _SHARE_OF_GPU


def _check_sizes(job: TrainJob, loaded: dict[int, ShardData]) -> None:
    for shard, by_split in loaded.items():
        for split in SPLITS:
            expected = len(shard_rows(job.data.num_rows(split), job.data.num_shards, shard))
            if len(by_split[split]) != expected:
                raise DataError(
                    f"shard {shard} of {job.data.name} holds {len(by_split[split])} "
                    f"{split} rows, not {expected}",
                    "cut the data set again: rnnjob data prepare",
                )


class EpochRows:
    """The training rows in the order of one epoch, with the account of their use."""

    def __init__(
        self,
        job: TrainJob,
        train: Rows,
        shard_sizes: dict[int, int],
        epoch: int,
        steps_done: int,
        is_streamed: bool = False,
    ) -> None:
        """
        Args:
            train: the training rows of all hosted shards, one shard after the other.
            shard_sizes: how many of them each shard has.
            is_streamed: a step's rows are to be pinned, because a GPU copies them later.
        """
        self._train, self._is_streamed = train, is_streamed
        self._rows_per_shard_step = job.rows_per_shard_step
        self._orders: dict[int, NDArray[np.int64]] = {
            shard: epoch_order(job.training.seed, epoch, shard, size)
            for shard, size in shard_sizes.items()
        }
        self._index = torch.from_numpy(self._in_order_of_steps()).to(train.labels_N.device)
        self.account = RowAccount(epoch + 1, self._orders, steps_done * self._rows_per_shard_step)

    def step(self, step: int) -> dict[int, Rows]:
        """Return the rows of step `step` (from 0) for each hosted shard, and count them as used."""
        sizes = []
        for shard, rows in self._step_rows(step).items():
            self.account.use(shard, rows)
            sizes.append(len(rows))
        # All steps before this one are full. One look-up serves all shards.
        first = step * self._rows_per_shard_step * len(sizes)
        index = self._index[first : first + sum(sizes)]
        taken = Rows(self._train.images_NHW[index], self._train.labels_N[index])
        if self._is_streamed:
            taken = taken.pinned()
        return dict(zip(self._orders, taken.split(sizes), strict=True))

    def _step_rows(self, step: int) -> dict[int, NDArray[np.int64]]:
        """Return the numbers of the step's rows within each shard."""
        return {
            shard: step_rows(order, step, self._rows_per_shard_step)
            for shard, order in self._orders.items()
        }

    def _in_order_of_steps(self) -> NDArray[np.int64]:
        """Return the numbers of all rows within `train`, step after step, shard after shard."""
        offsets = np.cumsum([0, *(len(order) for order in self._orders.values())])
        longest = max(len(order) for order in self._orders.values())
        return np.concatenate(
            [
                rows + offset
                for step in range(-(-longest // self._rows_per_shard_step))
                for offset, rows in zip(offsets, self._step_rows(step).values(), strict=False)
            ]
        )
