"""`python -m orchestrator.driver RUN_URI`: the process that runs a job on Ray.

Reads the job from its run folder, has Ray Train train it, and writes the outcome there.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING

from orchestrator.execution import Plan, execute
from workers.errors import ResourcesError
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from workers.train import TrainResult

_DATA_CPUS = 2
"""Logical CPUs beside the workers', so that Ray Data is never starved by training."""
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # the end of training is seen as soon
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # else every print shows twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_DATA_LOG_LEVEL": "ERROR",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


def main(run_uri: str) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    status = execute(RunFolder.at(run_uri), train_with_ray)
    return status.exit_code or 0


def train_with_ray(plan: Plan) -> "TrainResult":
    """Trains a planned job on a Ray of its own, which is gone afterwards. Raises JobError."""
    import ray

    from orchestrator.training import fit

    _start_ray(plan)
    try:
        return fit(plan)
    finally:
        ray.shutdown()


def _start_ray(plan: Plan) -> None:
    import ray

    scaling = plan.spec.scaling
    most = scaling.worker_range[1]
    gpus = most * scaling.gpus_per_worker
    ray.init(
        address="local",
        num_cpus=most * plan.job.cpus_per_worker + _DATA_CPUS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        logging_config=ray.LoggingConfig(log_level="ERROR"),
        _temp_dir=os.environ.get("RNNJOB_RAY_DIR"),
    )
    found = ray.cluster_resources().get("GPU", 0.0)
    if gpus > found:
        raise ResourcesError(
            f"{most} workers with {scaling.gpus_per_worker:g} GPUs each need {gpus:g} GPUs, "
            f"this machine has {found:g}",
            "lower --workers or --gpus-per-worker, or leave GPUs out: --gpus-per-worker 0",
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
