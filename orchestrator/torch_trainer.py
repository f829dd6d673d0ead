"""Ray Train's TorchTrainer for a planned job, over one Ray Data dataset per shard."""

import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from orchestrator.plan import Plan
from orchestrator.room import Need
from orchestrator.units import parse_duration
from workers.config import SPLITS
from workers.errors import JobError, WorkerFailedError
from workers.run_folder import PREEMPTION, WORKER, RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.train import TrainResult


def preload() -> None:
    """Imports Ray Train, Ray Data and torch, which takes seconds."""
    import ray.data
    import ray.train.torch  # noqa: F401


def build_trainer(plan: Plan, failures_left: int) -> Any:
    """`failures_left`: how many more failures of its workers the job may have."""
    from ray.train import DataConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from workers.ray_worker import train_on_ray

    spec, job = plan.spec, plan.job
    low, high = spec.scaling.worker_range
    run = RunFolder.at(job.run_uri)
    filesystem, path = run.storage.child(run.RAY_TRAIN).opened
    return TorchTrainer(
        train_on_ray,
        train_loop_config={"job": job.model_dump_json()},
        scaling_config=ScalingConfig(
            num_workers=low if low == high else (low, high),
            use_gpu=spec.scaling.gpus_per_worker > 0,
            resources_per_worker=Need.of(spec).each,
            elastic_resize_monitor_interval_s=parse_duration(spec.scaling.resize_interval),
        ),
        run_config=RunConfig(
            # Ray takes up what it finds under a name; a run goes on from its own checkpoints.
            name=secrets.token_hex(4),
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(
                max_failures=failures_left,
                # Workers that do not start: `limits.pending_timeout` ends that.
                controller_failure_limit=-1,
            ),
            worker_runtime_env={
                "env_vars": {"OMP_NUM_THREADS": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
            },
            callbacks=[_failure_log(job.run_uri)],
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
        datasets=_datasets(plan),
        dataset_config=DataConfig(datasets_to_split=[]),
    )


def fit(trainer: Any, failures_left: int) -> dict[str, Any]:
    """What worker 0 returned. Raises JobError."""
    from ray.train import TrainingFailedError

    try:
        answer: dict[str, Any] = trainer.fit().return_value
    except TrainingFailedError as error:
        raise _explained(error, failures_left) from error
    return answer


def result_of(answer: dict[str, Any]) -> "TrainResult":
    """Of `workers.ray_worker.train_on_ray`. Raises the error that all workers met alike."""
    from workers.train import TrainResult

    if error := answer.get("error"):
        raise error
    content = answer["result"]
    stopped = content["stopped"]
    return TrainResult(**{**content, "stopped": StopRequest(**stopped) if stopped else None})


def _failure_log(run_uri: str) -> Any:
    """Notes each failure of the workers in the run folder; called in Ray Train's controller."""
    from ray.train import UserCallback

    class FailureLog(UserCallback):  # type: ignore[misc]  # Ray is not typed
        def after_exception(
            self, run_context: Any, worker_exceptions: dict[int, Exception]
        ) -> None:
            # An error raised here would end the job.
            with contextlib.suppress(Exception):
                note_failure(RunFolder.at(run_uri).patient(), worker_exceptions)

    return FailureLog()


def note_failure(run: RunFolder, worker_exceptions: dict[int, Exception]) -> None:
    """`worker_exceptions`: by rank. When a worker is lost the others fail for it: as in Ray's own
    count, one that was preempted makes it a preemption."""
    preempted = [rank for rank, error in worker_exceptions.items() if _is_preempted(error)]
    rank = preempted[0] if preempted else next(iter(worker_exceptions))
    reason = f"worker {rank} failed: {_last_line(worker_exceptions[rank])}"
    run.note_failure(reason, PREEMPTION if preempted else WORKER)


def _is_preempted(error: Exception) -> bool:
    """Whether a worker died with a node that was taken away."""
    return getattr(getattr(error, "health_check_failure", error), "preempted", False) is True


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else repr(error)


def _datasets(plan: Plan) -> dict[str, Any]:
    import ray.data

    # Not `from_arrow`: that has a task look at each table, and tasks need processes of their own.
    from ray.data.read_api import from_blocks

    from workers.ray_worker import dataset_name, shard_table

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return {
        dataset_name(shard): from_blocks(
            [shard_table({split: plan.data.table(split, shard) for split in SPLITS})]
        )
        for shard in range(plan.job.data.num_shards)
    }


def _explained(error: Exception, failures_left: int) -> JobError:
    """The cause behind a failed fit, from the worker that failed first."""
    causes = [e for e in getattr(error, "worker_failures", {}).values() if e is not None]
    for cause in causes:
        seen: BaseException | None = cause
        while seen is not None:
            if isinstance(seen, JobError):
                return seen
            seen = seen.__cause__ or getattr(seen, "cause", None)
    what = _last_line(causes[0] if causes else error)
    again = f", and again after {failures_left} restarts" if failures_left else ""
    return WorkerFailedError(
        f"a worker failed{again}: {what}" if causes else f"Ray Train gave up: {what}",
        "see the workers' logs in the run folder",
    )
