"""A planned job through Ray Train: TorchTrainer over one Ray Data dataset per shard."""

import tempfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator import runs
from orchestrator.execution import Plan
from orchestrator.units import parse_duration, show_duration
from workers.config import SPLITS
from workers.errors import JobError, JobStoppedError, ResourcesError, WorkerFailedError
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from workers.train import TrainResult

T = TypeVar("T")
_POLL_S = 0.2


def fit(plan: Plan) -> "TrainResult":
    """Trains on the Ray that this process is connected to. Raises JobError."""
    with tempfile.TemporaryDirectory(prefix="rnnjob-train-") as scratch:
        trainer = _trainer(plan, scratch)
        answer = _supervised(lambda: _return_value(trainer, plan), plan)
    return _result_of(answer)


def _supervised(function: Callable[[], T], plan: Plan) -> T:
    """Runs a function beside this thread; gives up where the workers do not start in time, or the
    job is to stop before they do. Ray Train itself would wait for ever."""
    answers: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            answers.append(function())
        except BaseException as error:  # noqa: BLE001  # raised again below
            errors.append(error)

    thread = threading.Thread(target=target, name="fit", daemon=True)
    thread.start()
    run = RunFolder.at(plan.job.run_uri)
    limit_s = parse_duration(plan.spec.limits.pending_timeout)
    begun = time.monotonic()
    while thread.is_alive():
        thread.join(_POLL_S)
        if runs.read_status(run).state != runs.PENDING:
            thread.join()
        elif request := run.stop_request():
            raise JobStoppedError(f"{request.reason}, before it started", "", request.exit_code)
        elif time.monotonic() - begun > limit_s:
            raise _not_in_time(plan, limit_s)
    if errors:
        raise errors[0]
    return answers[0]


def _not_in_time(plan: Plan, limit_s: float) -> ResourcesError:
    import ray

    scaling = plan.spec.scaling
    free = ray.available_resources()
    return ResourcesError(
        f"{scaling.worker_range[0]} workers with {plan.job.cpus_per_worker} CPUs and "
        f"{scaling.gpus_per_worker:g} GPUs each did not start within {show_duration(limit_s)}: "
        f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs are free",
        "ask for fewer workers, or wait longer: --pending-timeout",
    )


def _return_value(trainer: Any, plan: Plan) -> dict[str, Any]:
    from ray.train import TrainingFailedError

    try:
        answer: dict[str, Any] = trainer.fit().return_value
    except TrainingFailedError as error:
        raise _explained(error, plan.spec.limits.max_failures) from error
    return answer


def _trainer(plan: Plan, scratch: str) -> Any:
    from ray.train import DataConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from workers.ray_worker import train_on_ray

    spec, job = plan.spec, plan.job
    low, high = spec.scaling.worker_range
    gpus = spec.scaling.gpus_per_worker
    resources = {"CPU": float(job.cpus_per_worker)} | ({"GPU": gpus} if gpus else {})
    return TorchTrainer(
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
