"""`--local`: the job in a thread of this process; no Ray."""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator.execution import execute
from orchestrator.hardware import best_precision
from orchestrator.plan import Plan
from orchestrator.runs import LOCAL
from workers.config import SPLITS
from workers.errors import ResourcesError
from workers.run_folder import RunFolder, StopWatch

if TYPE_CHECKING:
    from orchestrator.job_spec import JobSpec
    from workers.shard_data import ShardData
    from workers.train import TrainResult


def num_usable_cpus() -> int:
    """CPUs that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class LocalLauncher:
    """Trains beside the thread that follows, which stays free for Ctrl-C."""

    mode = LOCAL
    leaves_on_interrupt = False

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def submit(self, run: RunFolder) -> None:
        # A daemon: a second Ctrl-C must not wait for it.
        self._thread = threading.Thread(
            target=execute, args=(run, LocalTrainer()), name="job", daemon=True
        )
        self._thread.start()

    def is_alive(self, run: RunFolder) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def why_it_ended(self, run: RunFolder) -> str:
        return ""  # it printed to this process's own stderr

    def kill(self, run: RunFolder) -> bool:
        """A thread cannot be ended; it dies with the process."""
        return True


class LocalTrainer:
    """Trains in the calling thread."""

    def __enter__(self) -> "LocalTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def wait_for_room(self, run: RunFolder, spec: "JobSpec", say: Callable[[str], None]) -> None:
        """There is always room for one process; its GPU may be missing."""
        import torch

        if spec.scaling.gpus_per_worker and not torch.cuda.is_available():
            raise ResourcesError(
                "the job wants a GPU, torch finds none on this machine",
                "leave it out: --gpus-per-worker 0",
            )

    def settle_precision(self, gpu: bool) -> str:
        return best_precision(gpu)

    def train(self, plan: Plan) -> "TrainResult":
        import torch

        from workers.shard_data import rows_from_table
        from workers.train import train
        from workers.worker import SingleProcessWorker

        job = plan.job
        if plan.spec.scaling.cpus_per_worker == "auto":
            cpus = min(num_usable_cpus(), job.data.num_shards)
            job = job.model_copy(update={"cpus_per_worker": cpus})

        def load_shard(shard: int) -> "ShardData":
            return {
                split: rows_from_table(plan.data.table(split, shard), job.data) for split in SPLITS
            }

        stop = StopWatch(RunFolder.at(job.run_uri))
        device = torch.device("cuda" if plan.spec.scaling.gpus_per_worker else "cpu")
        return train(job, SingleProcessWorker(job.data.num_shards, load_shard, stop, device))
