"""The rows that a worker holds, and those of them that make up each step of an epoch.

N rows, H height, W width.
"""

import time

import numpy as np
import torch
from numpy.typing import NDArray

from workers.account import RowAccount
from workers.config import SPLITS, TrainJob
from workers.errors import DataError
from workers.shard_data import Rows, ShardData
from workers.shards import epoch_order, shard_rows, step_rows
from workers.worker import Worker


class HeldRows:
    """All splits of the shards that one worker hosts, on its device."""

    def __init__(self, job: TrainJob, worker: Worker) -> None:
        """Loads them. Raises DataError where a shard does not hold the rows that it should."""
        self._job, self._device = job, worker.device
        started = time.perf_counter()
        loaded = {shard: worker.load_shard(shard) for shard in worker.shards}
        self.load_s = time.perf_counter() - started
        _check(job, loaded)
        self.shards = {
            shard: {split: rows[split].to(worker.device) for split in SPLITS}
            for shard, rows in loaded.items()
        }

    def epoch(self, epoch: int, steps_done: int) -> "EpochRows":
        """Epoch `epoch` (from 0), of which some steps were taken before a restart."""
        return EpochRows(self._job, self.shards, self._device, epoch, steps_done)


def _check(job: TrainJob, loaded: dict[int, ShardData]) -> None:
    for shard, of_split in loaded.items():
        for split in SPLITS:
            expected = len(shard_rows(job.data.num_rows(split), job.data.num_shards, shard))
            if len(of_split[split]) != expected:
                raise DataError(
                    f"shard {shard} of {job.data.name} holds {len(of_split[split])} "
                    f"{split} rows, not {expected}",
                    "cut the data set again: rnnjob data prepare",
                )


class EpochRows:
    """The training rows in the order of one epoch, and the account of their use."""

    def __init__(
        self,
        job: TrainJob,
        shards: dict[int, ShardData],
        device: torch.device,
        epoch: int,
        steps_done: int,
    ) -> None:
        self._shards, self._device = shards, device
        self._each = job.rows_per_shard_step
        self._orders: dict[int, NDArray[np.int64]] = {
            shard: epoch_order(job.training.seed, epoch, shard, len(rows["train"]))
            for shard, rows in shards.items()
        }
        self.account = RowAccount(epoch + 1, self._orders, steps_done * self._each)

    def step(self, step: int) -> dict[int, Rows]:
        """The rows of step `step` (from 0) of each hosted shard."""
        batches = {}
        for shard, order in self._orders.items():
            index = step_rows(order, step, self._each)
            self.account.use(shard, index)
            where = torch.from_numpy(index).to(self._device)
            rows = self._shards[shard]["train"]
            batches[shard] = Rows(rows.images_NHW[where], rows.labels_N[where])
        return batches
