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
from workers.shards.rows import Rows, ShardData


class HeldRows:
    """All splits of the shards that one worker hosts, on its device."""

    def __init__(
        self,
        job: TrainJob,
        shards: range,
        load_shard: Callable[[int], ShardData],
        device: torch.device,
    ) -> None:
        """Load the shards. Raises DataError if a shard does not hold as many rows as it should."""
        self._job, self._device = job, device
        started = time.perf_counter()
        loaded = {shard: load_shard(shard) for shard in shards}
        self.load_s = time.perf_counter() - started
        _check_sizes(job, loaded)
        self.shards = {
            shard: {split: rows[split].to(device) for split in SPLITS}
            for shard, rows in loaded.items()
        }

    def epoch(self, epoch: int, steps_done: int) -> "EpochRows":
        """Return the rows of epoch `epoch` (from 0). `steps_done`: its steps before a restart."""
        return EpochRows(self._job, self.shards, self._device, epoch, steps_done)


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
        shards: dict[int, ShardData],
        device: torch.device,
        epoch: int,
        steps_done: int,
    ) -> None:
        self._shards, self._device = shards, device
        self._rows_per_shard_step = job.rows_per_shard_step
        self._orders: dict[int, NDArray[np.int64]] = {
            shard: epoch_order(job.training.seed, epoch, shard, len(rows["train"]))
            for shard, rows in shards.items()
        }
        self.account = RowAccount(epoch + 1, self._orders, steps_done * self._rows_per_shard_step)

    def step(self, step: int) -> dict[int, Rows]:
        """Return the rows of step `step` (from 0) for each hosted shard, and count them as used."""
        batches = {}
        for shard, order in self._orders.items():
            index = step_rows(order, step, self._rows_per_shard_step)
            self.account.use(shard, index)
            on_device = torch.from_numpy(index).to(self._device)
            rows = self._shards[shard]["train"]
            batches[shard] = Rows(rows.images_NHW[on_device], rows.labels_N[on_device])
        return batches
