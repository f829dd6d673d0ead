"""`python -m orchestrator.driver RUN_URI`: what runs beside the cluster; builds the TorchTrainer.

Reads the job from its run folder, has Ray Train train it, and writes the outcome there.
"""

import logging
import os
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from orchestrator.execution import Plan, execute
from workers.config import SPLITS
from workers.errors import JobError, ResourcesError, WorkerFailedError
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

    _start_ray(plan)
    try:
        return _fit(plan)
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


def _fit(plan: Plan) -> "TrainResult":
    from ray.train import (
        DataConfig,
        FailureConfig,
        LoggingConfig,
        RunConfig,
        ScalingConfig,
        TrainingFailedError,
    )
    from ray.train.torch import TorchTrainer

    from workers.ray_worker import train_on_ray

    spec, job = plan.spec, plan.job
    low, high = spec.scaling.worker_range
    gpus = spec.scaling.gpus_per_worker
    resources = {"CPU": float(job.cpus_per_worker)} | ({"GPU": gpus} if gpus else {})
    with tempfile.TemporaryDirectory(prefix="rnnjob-train-") as scratch:
        trainer = TorchTrainer(
            train_on_ray,
            train_loop_config={"job": job.model_dump_json()},
            scaling_config=ScalingConfig(
                num_workers=low if low == high else (low, high),
                use_gpu=gpus > 0,
                resources_per_worker=resources,
            ),
            run_config=RunConfig(
                name=job.run_id,
                storage_path=scratch,  # checkpoints and metrics are in the run folder, not Ray's
                failure_config=FailureConfig(
                    max_failures=spec.limits.max_failures,
                    controller_failure_limit=spec.limits.max_failures,
                ),
                worker_runtime_env={
                    "env_vars": {"OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
                },
                logging_config=LoggingConfig(log_level="ERROR"),
            ),
            datasets=_datasets(plan),
            dataset_config=DataConfig(datasets_to_split=[]),
        )
        try:
            answer = trainer.fit().return_value
        except TrainingFailedError as error:
            raise _explained(error, spec.limits.max_failures) from error
    return _result_of(answer)


def _datasets(plan: Plan) -> dict[str, Any]:
    import ray.data

    from workers.ray_worker import dataset_name, shard_table

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return {
        dataset_name(shard): ray.data.from_arrow(
            shard_table({split: plan.data.table(split, shard) for split in SPLITS})
        )
        for shard in range(plan.job.data.num_shards)
    }


def _result_of(answer: dict[str, Any]) -> "TrainResult":
    from workers.run_folder import StopRequest
    from workers.train import TrainResult

    if error := answer.get("error"):
        raise error
    content = answer["result"]
    stopped = content["stopped"]
    return TrainResult(**{**content, "stopped": StopRequest(**stopped) if stopped else None})


def _explained(error: Exception, max_failures: int) -> JobError:
    """The cause behind a failed fit, from the worker that failed first."""
    causes = [e for e in getattr(error, "worker_failures", {}).values() if e is not None]
    for cause in causes:
        seen: BaseException | None = cause
        while seen is not None:
            if isinstance(seen, JobError):
                return seen
            seen = seen.__cause__ or getattr(seen, "cause", None)
    lines = [
        line for line in str(causes[0] if causes else error).strip().splitlines() if line.strip()
    ]
    last = lines[-1] if lines else repr(error)
    return WorkerFailedError(
        f"a worker failed, and again after {max_failures} restarts: {last}",
        "see logs/driver.log in the run folder, or run again with --verbose",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
