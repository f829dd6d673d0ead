"""RayWorker: the worker inside Ray Train, which receives its shards through Ray Data.

Each shard is a Ray Data dataset of its own, which Ray does not split: a worker asks only for the
shards that it hosts at the present world size. Ray's own splitting would drop rows (`equal=True`)
and would depend on the number of workers. The dataset says which Parquet files the shard has, and
the worker reads them: Ray's tasks for that would need processes and memory beside the workers, and
seconds at each start.

L shards of this worker, K nodes of the tree of shards that it has whole, N numbers per row.
"""

import logging
import os
import time
from typing import Any

import ray
import ray.train
import ray.train.torch
import torch
from torch import Tensor

from workers.config import TrainJob
from workers.data.rows import ShardData
from workers.errors import SharedError
from workers.on_ray.collectives import Collectives
from workers.records.activity import EXCHANGE, Activity
from workers.records.failures import repeating
from workers.records.owners import Fence
from workers.records.ray_reports import reporting
from workers.records.run_folder import RunFolder, StopPoller, StopRequest
from workers.records.run_log import RunLog, log_to
from workers.shards.order import hosted_shards
from workers.shards.shard_block import dataset_name, files_of
from workers.shards.shard_files import ShardFiles
from workers.train import train
from workers.worker import Notice

log = logging.getLogger(__name__)
_ASSUMED_NOTICE_S = 120.0
"""Seconds until a machine is taken away, if nobody says when. Ray Train assumes the same."""
_CHECK_EVERY_S = 2.0
"""Seconds between two checks. A check costs every worker a round trip to one of Ray's actors."""


class RayWorker:
    """One of the W processes of a Ray Train worker group, connected by torch.distributed."""

    def __init__(self, job: TrainJob) -> None:
        context = ray.train.get_context()
        self.rank: int = context.get_world_rank()
        self.world_size: int = context.get_world_size()
        self.device: torch.device = ray.train.torch.get_device()
        self.shards = hosted_shards(job.data.num_shards, self.world_size, self.rank)
        self._job = job
        self.activity = Activity()
        self._collectives = Collectives(job.data.num_shards, self.world_size)
        self._poll_stop = StopPoller(RunFolder.at(job.run_uri), Fence.of(job).check)
        self._watches_for_preemption = (
            os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1") != "0"
        )
        self._checked_at = time.monotonic()
        self._assumed_deadline = 0.0

    def load_shard(self, shard: int) -> ShardData:
        return self.open_shard(shard).load()

    def open_shard(self, shard: int) -> ShardFiles:
        blocks = ray.get(ray.train.get_dataset_shard(dataset_name(shard)))
        return files_of(blocks, self._job.data)

    def tree_sum(self, rows_KN: Tensor) -> Tensor:
        with self.activity.now(EXCHANGE):
            return self._collectives.tree_sum(rows_KN)

    def all_reduce(self, row_N: Tensor) -> Tensor:
        with self.activity.now(EXCHANGE):
            return self._collectives.all_reduce(row_N)

    def gather(self, rows_LN: Tensor) -> Tensor:
        with self.activity.now(EXCHANGE):
            return self._collectives.gather(rows_LN)

    def stop_requested(self) -> StopRequest | None:
        return self._poll_stop()

    def notice_due(self) -> bool:
        if not self._watches_for_preemption or time.monotonic() - self._checked_at < _CHECK_EVERY_S:
            return False
        self._checked_at = time.monotonic()
        return True

    def notice(self) -> Notice | None:
        info = ray.train.get_preemption_info()
        if info is None:
            return None
        has_deadline = info.deadline_ms is not None
        if not has_deadline:
            self._assumed_deadline = self._assumed_deadline or time.time() + _ASSUMED_NOTICE_S
        return Notice(
            info.preempted_ranks,
            info.deadline_ms / 1000 if has_deadline else self._assumed_deadline,
        )


def train_job(config: dict[str, Any]) -> dict[str, Any]:
    """Train in one process of Ray Train.

    Of `config`, "job" is a TrainJob as JSON, "topic" that of the worker's reports. If
    "has_open_cpus", the worker uses the CPUs that Ray gave it, not those of the job.

    Returns the TrainResult as JSON under "result", or under "error" the error that all workers
    raise at the same step. If this function raised that error, Ray would start the workers again
    in vain.
    """
    job = TrainJob.model_validate_json(config["job"])
    if config["has_open_cpus"]:
        job = job.model_copy(update={"cpus_per_worker": _own_cpus()})
    worker = RayWorker(job)
    with log_to(RunLog(RunFolder.at(job.run_uri), f"worker-{worker.rank}")):
        log.info("worker %d has started", worker.rank)
        try:
            with reporting(config["topic"], worker.rank, worker.activity):
                return {"result": train(job, worker, activity=worker.activity).to_json()}
        except SharedError as error:
            log.error("%s", error.cause)
            return {"error": error}
        except Exception as error:
            log.exception("worker %d failed", worker.rank)
            # Sent to Ray's controller, an error keeps its class and text, but not what caused it.
            found = repeating(error, worker.rank)
            if found is None or found is error:
                raise
            raise found from error


def _own_cpus() -> int:
    """Return the CPUs that Ray gave this worker.

    After the loss of a node they may be fewer than the job began with.
    """
    return int(ray.get_runtime_context().get_assigned_resources()["CPU"])
