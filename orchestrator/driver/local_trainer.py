"""Train a job in this process, without Ray."""

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.runs.hardware import best_precision, num_gpus, num_usable_cpus
from orchestrator.spec.plan import Plan, shared_cpus
from workers.errors import ResourcesError
from workers.gpu.settings import prepare_environment
from workers.imports import quick_imports
from workers.records.activity import Activity, Report
from workers.records.run_folder import RunFolder, StopPoller

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec
    from workers.records.train_result import TrainResult


def check_gpu(spec: "JobSpec") -> None:
    """Raise ResourcesError if a job wants a GPU and this process finds none.

    If there is one, this process is prepared for it.
    """
    if not spec.scaling.gpus_per_worker:
        return
    prepare_environment()
    if not num_gpus():
        raise ResourcesError(
            "the job wants a GPU, torch finds none on this machine",
            "leave it out: --gpus-per-worker 0",
        )


class LocalTrainer:
    """A `Trainer` that trains in the thread that calls it."""

    def __init__(self) -> None:
        self._activity: Activity | None = None
        self._beats = 0

    def __enter__(self) -> "LocalTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait_for_capacity(
        self, run: RunFolder, spec: "JobSpec", say: Callable[[str], None]
    ) -> None:
        """Return at once. Raises ResourcesError if the job wants a GPU and there is none."""
        check_gpu(spec)

    def reports(self) -> list[Report]:
        """Return what the thread that trains does; nothing before it trains."""
        if self._activity is None:
            return []
        self._beats += 1
        me = socket.gethostname(), os.getpid()
        return [self._activity.report(0, *me, node="", beats=self._beats)]

    def end_workers(self) -> None:
        """Do nothing: a thread cannot be ended."""

    def resolve_precision(self, gpu: bool) -> str:
        return best_precision(gpu)

    def train(self, plan: Plan) -> "TrainResult":
        with quick_imports():
            import torch

            from workers.records.owners import Fence
            from workers.train import train
            from workers.worker import SingleProcessWorker

        job = plan.with_cpus(shared_cpus(plan.spec, num_usable_cpus(), num_workers=1)).job
        stop = StopPoller(RunFolder.at(job.run_uri), Fence.of(job).check)
        device = torch.device("cuda" if plan.spec.scaling.gpus_per_worker else "cpu")
        worker = SingleProcessWorker(
            job.data.num_shards,
            lambda shard: plan.data.shard(shard).load(),
            stop,
            device,
            plan.data.shard,
        )
        self._activity = Activity()
        return train(job, worker, activity=self._activity)
