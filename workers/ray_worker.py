"""RayWorker: the loop's worker inside Ray Train, and the shards' way through Ray Data.

Each shard is one Ray Data dataset of its own, not split by Ray: a worker asks for just the shards
it hosts at the present world size. Ray's own splitting would drop rows (`equal=True`) and depend on
the number of workers.

L shards of this worker, N numbers per row.
"""

import logging
import os
import time
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import ray.train
import ray.train.torch
import torch
from torch import Tensor

from workers import secrets
from workers.collectives import Collectives
from workers.config import SPLITS, TrainJob
from workers.errors import DataError, SharedError
from workers.run_folder import RunFolder, StopRequest, StopWatch
from workers.run_log import RunLog, logged
from workers.shard_data import ShardData, rows_from_table
from workers.shards import hosted_shards
from workers.train import train
from workers.worker import Notice

log = logging.getLogger(__name__)
_UNKNOWN_S = 120.0
"""Ray Train's own, where nobody says when."""
_NOTICE_S = 2.0
"""Looking costs all workers a round trip to an actor of Ray's."""


def dataset_name(shard: int) -> str:
    return f"shard-{shard}"


def shard_table(splits: dict[str, pa.Table]) -> pa.Table:
    """All rows of a shard as one table: image, label, split, position."""
    tables = []
    for number, split in enumerate(SPLITS):
        table = splits[split]
        rows = len(table)
        table = table.append_column("split", pa.array([number] * rows, pa.int8()))
        tables.append(table.append_column("position", pa.array(range(rows), pa.int64())))
    return pa.concat_tables(tables).combine_chunks()


def split_table(table: pa.Table, job: TrainJob, shard: int) -> ShardData:
    """The reverse of `shard_table`, whatever order the rows came in.

    Raises DataError where rows are missing.
    """
    data = {}
    for number, split in enumerate(SPLITS):
        part = table.filter(pc.equal(table["split"], number)).sort_by("position")
        expected = len(range(shard, job.data.num_rows(split), job.data.num_shards))
        if part["position"].to_pylist() != list(range(expected)):
            raise DataError(
                f"shard {shard} of {job.data.name} came with {len(part)} {split} rows of {expected}"
            )
        data[split] = rows_from_table(part, job.data)
    return data


class RayWorker:
    """One of W processes of a Ray Train worker group, joined by torch.distributed."""

    def __init__(self, job: TrainJob) -> None:
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.shards = hosted_shards(job.data.num_shards, self.world_size, self.rank)
        self._job = job
        self._collectives = Collectives(job.data.num_shards, self.world_size)
        self._stop = StopWatch(RunFolder.at(job.run_uri))
        self._watched = os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1") != "0"
        self._looked = time.monotonic()
        self._deadline = 0.0

    def load_shard(self, shard: int) -> ShardData:
        dataset = ray.train.get_dataset_shard(dataset_name(shard))
        batches = list(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
        return split_table(pa.concat_tables(batches), self._job, shard)

    def ordered_sum(self, rows_LN: Tensor) -> Tensor:
        return self._collectives.ordered_sum(rows_LN)

    def all_reduce(self, row_N: Tensor) -> Tensor:
        return self._collectives.all_reduce(row_N)

    def gather(self, rows_LN: Tensor) -> Tensor:
        return self._collectives.gather(rows_LN)

    def stop_requested(self) -> StopRequest | None:
        return self._stop()

    def notice_due(self) -> bool:
        if not self._watched or time.monotonic() - self._looked < _NOTICE_S:
            return False
        self._looked = time.monotonic()
        return True

    def notice(self) -> Notice | None:
        info = ray.train.get_preemption_info()
        if info is None:
            return None
        known = info.deadline_ms is not None
        if not known:
            self._deadline = self._deadline or time.time() + _UNKNOWN_S
        return Notice(info.preempted_ranks, info.deadline_ms / 1000 if known else self._deadline)


def train_on_ray(config: dict[str, Any]) -> dict[str, Any]:
    """What each Ray Train worker runs. `config`: a TrainJob as JSON.

    Returns the TrainResult as JSON, or the error that all workers met alike: raised, it would make
    Ray try again in vain.
    """
    secrets.load()
    job = TrainJob.model_validate_json(config["job"])
    worker = RayWorker(job)
    with logged(RunLog(RunFolder.at(job.run_uri), f"worker-{worker.rank}")):
        log.info("worker %d has started", worker.rank)
        try:
            return {"result": train(job, worker).to_json()}
        except SharedError as error:
            log.error("%s", error.cause)
            return {"error": error}
        except Exception:
            log.exception("worker %d failed", worker.rank)
            raise
