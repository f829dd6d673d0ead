"""Train a planned job with Ray Train. Each shard is one Ray Data dataset."""

import contextlib
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.capacity import ResourceRequest
from orchestrator.driver.ray_train.loopback_group import interface, is_on_loopback
from orchestrator.spec.plan import Plan
from orchestrator.units import parse_duration
from workers.errors import JobError, WorkerFailedError
from workers.gpu import settings as gpu_settings
from workers.imports import quick_imports
from workers.records.failures import again, is_of_a_connection, step_of
from workers.records.run_folder import PREEMPTION, STANDSTILL, WORKER, RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.records.train_result import TrainResult


_MAX_CHARACTERS = 400
PRELOADED = "orchestrator.driver.ray_train.run_trainer"
"""The module that imports Ray Train and Ray Data, which all processes of a training need."""


class ControllerLostError(WorkerFailedError):
    """The process of Ray Train that looks after the workers is gone, and they with it."""


def preload() -> None:
    """Import Ray Train and Ray Data ahead of their use, which takes a second."""
    with quick_imports():
        from orchestrator.driver.ray_train import run_trainer  # noqa: F401


def worker_environment(gpus_per_worker: float, is_alone: bool) -> dict[str, str]:
    """Return the environment variables of a job's workers.

    `is_alone`: they are all on this machine; see `loopback_group`.
    """
    return {
        "OMP_NUM_THREADS": "1",
        **(gpu_settings.ENVIRONMENT if gpus_per_worker else {}),
        **(interface() if is_alone else {}),
    }


def build_trainer(
    plan: Plan,
    failures_left: int,
    topic: str,
    look_after: Callable[[], None],
    pip: tuple[str, ...] = (),
    *,
    has_own_ray: bool = False,
    has_open_cpus: bool = False,
) -> Any:
    """Return the trainer of a job.

    Args:
        failures_left: how many more times the workers may fail before the job fails.
        topic: that of the workers' reports.
        look_after: called again and again while the job trains. What it raises ends `fit`.
        pip: the packages that Ray installs for the workers.
        has_own_ray: the job has a Ray of its own, which was started with `worker_environment`, and
            with one logical CPU for each worker.
        has_open_cpus: the spec leaves open how many CPUs a worker gets on a cluster, so that
            workers which start again on fewer nodes may have less.
    """
    from ray.train import DataConfig, FailureConfig, LoggingConfig, RunConfig, ScalingConfig

    from orchestrator.driver.ray_train.process_group import ProcessGroup
    from orchestrator.driver.ray_train.run_trainer import RunTrainer
    from workers.on_ray.entry import train_on_ray

    spec, job = plan.spec, plan.job
    low, high = spec.scaling.worker_range
    per_worker = ResourceRequest.of(spec).per_worker
    run = RunFolder.at(job.run_uri)
    filesystem, path = run.storage.child(run.RAY_TRAIN).filesystem_and_path
    is_alone = is_on_loopback()
    return RunTrainer(
        train_on_ray,
        run_uri=job.run_uri,
        has_own_ray=has_own_ray,
        has_open_cpus=has_open_cpus,
        look_after=look_after,
        every_s=run.poll_s,
        train_loop_config={
            "job": job.model_dump_json(),
            "topic": topic,
            "has_open_cpus": has_open_cpus,
        },
        backend_config=ProcessGroup(
            process_group_backend(spec.scaling.gpus_per_worker), is_on_loopback=is_alone
        ),
        scaling_config=ScalingConfig(
            num_workers=low if low == high else (low, high),
            use_gpu=spec.scaling.gpus_per_worker > 0,
            resources_per_worker=per_worker | ({"CPU": 1.0} if has_own_ray else {}),
            elastic_resize_monitor_interval_s=parse_duration(spec.scaling.resize_interval),
        ),
        run_config=RunConfig(
            # The name must be new: Ray continues what it finds under a known name, but a run goes
            # on from its own checkpoints.
            name=secrets.token_hex(4),
            storage_path=path,
            storage_filesystem=filesystem,
            failure_config=FailureConfig(
                max_failures=failures_left,
                # Ray tries for ever to start the workers: `limits.pending_timeout` ends the job.
                controller_failure_limit=-1,
            ),
            worker_runtime_env={
                **({"pip": list(pip)} if pip else {}),
                "env_vars": {}
                if has_own_ray
                else worker_environment(spec.scaling.gpus_per_worker, is_alone),
            },
            callbacks=[_failure_log(job.run_uri)],
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
        datasets=_datasets(plan),
        dataset_config=DataConfig(datasets_to_split=[]),
    )


def process_group_backend(gpus_per_worker: float) -> str:
    """Return how torch.distributed connects the workers of a job.

    NCCL wants a GPU for each rank. Workers that share one exchange through the host.
    """
    return "nccl" if gpus_per_worker >= 1 else "gloo"


def fit(trainer: Any, failures_left: int) -> dict[str, Any]:
    """Train, and return what `workers.on_ray.ray_worker.train_job` returned on worker 0.

    Raises JobError, as the trainer's `look_after` may, too.
    """
    from ray.exceptions import RayActorError
    from ray.train import TrainingFailedError

    try:
        returned: dict[str, Any] = trainer.fit().return_value
    except RayActorError as error:
        raise ControllerLostError(
            f"Ray Train's controller was lost: {_last_line(error)}",
            "see the driver's log in the run folder, and resume the run",
        ) from error
    except TrainingFailedError as error:
        raise _explain_failure(error, failures_left) from error
    return returned


def parse_result(returned: dict[str, Any]) -> "TrainResult":
    """Return the result in what `fit` returned. Raises the error if all workers had the same."""
    from workers.records.train_result import TrainResult

    if error := returned.get("error"):
        raise error
    content = returned["result"]
    stopped = content["stopped"]
    return TrainResult(**{**content, "stopped": StopRequest(**stopped) if stopped else None})


def _failure_log(run_uri: str) -> Any:
    """Return a Ray Train callback that writes each failure of the workers to the run folder.

    Ray Train calls it in its controller process.
    """
    from ray.train import UserCallback

    class FailureLog(UserCallback):  # type: ignore[misc]  # Ray is not typed
        def after_exception(
            self, run_context: Any, worker_exceptions: dict[int, Exception]
        ) -> None:
            # An exception from a callback ends the job, which is wanted only of this one.
            end: JobError | None = None
            with contextlib.suppress(Exception):
                run = RunFolder.at(run_uri).with_retries()
                end = why_not_again(run, worker_exceptions)
                if end is None:
                    note_failure(run, worker_exceptions)
            if end is not None:
                raise end

    return FailureLog()


def why_not_again(run: RunFolder, worker_exceptions: dict[int, Exception]) -> JobError | None:
    """Return the error with which the job ends, if the workers would fail alike once more.

    That is an error which its worker knew would come again, or one that has come at the same step
    in the attempt before. `worker_exceptions`: by rank.
    """
    for error in worker_exceptions.values():
        found = _job_error_in(error)
        if found is not None and found.repeats:
            return found
    last = run.failures()[-1:]
    reason, step = _reason_and_step(worker_exceptions)
    if step is not None and last and (last[0]["reason"], last[0].get("step")) == (reason, step):
        return again(f"{reason}, twice at step {step}")
    return None


def _job_error_in(error: BaseException | None) -> JobError | None:
    """Return the error of ours that is behind an error of Ray's; None if there is none."""
    while error is not None and not isinstance(error, JobError):
        error = error.__cause__ or getattr(error, "cause", None)
    return error


def _reason_and_step(worker_exceptions: dict[int, Exception]) -> tuple[str, int | None]:
    """Return the reason of a failure, and the step at which the error behind it was raised.

    The step is None if a worker was lost, or the connection to one. The other workers then fail
    because of it, and none of it need come again.
    """
    others = {r: e for r, e in worker_exceptions.items() if not is_of_a_connection(e)}
    rank, error = next(iter((others or worker_exceptions).items()))
    is_lost = not others or any(step_of(each) is None for each in others.values())
    return f"worker {rank} failed: {_last_line(error)}", None if is_lost else step_of(error)


def note_failure(run: RunFolder, worker_exceptions: dict[int, Exception]) -> None:
    """Write one failure of the workers to the run folder. `worker_exceptions`: by rank.

    When a worker is lost, the others fail because of it. So one preempted worker makes the whole
    failure a preemption, as in Ray's own count. If there was a notice of it, its reason says more.
    """
    preempted = {rank: error for rank, error in worker_exceptions.items() if _is_preempted(error)}
    reason, step = _reason_and_step(preempted or worker_exceptions)
    reason = _standstill(run) or (_notice(run) if preempted else "") or reason
    more = {} if step is None else {"step": step}
    run.note_failure(reason, PREEMPTION if preempted else WORKER, **more)


def _notice(run: RunFolder) -> str:
    """Return what the notice of a preemption said; empty if there was none just before."""
    last = (run.failures() or [{}])[-1]
    return str(last["reason"]) if last.get("kind") == PREEMPTION else ""


def _standstill(run: RunFolder) -> str:
    """Return why the driver ended the workers just now; empty if it did not."""
    last = (run.failures() or [{}])[-1]
    return str(last["reason"]) if last.get("kind") == STANDSTILL else ""


def _is_preempted(error: Exception) -> bool:
    """Return whether a worker died because its node was taken away."""
    return getattr(getattr(error, "health_check_failure", error), "preempted", False) is True


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    last = lines[-1].strip() if lines else repr(error)
    # Of a lost process Ray lists what it might have been, in 700 characters.
    told = last.partition(" Some common causes include")[0]
    return told if len(told) <= _MAX_CHARACTERS else f"{told[:_MAX_CHARACTERS]}..."


def _datasets(plan: Plan) -> dict[str, Any]:
    import ray.data

    # `from_arrow` would start a task for each table, and each task needs its own process.
    from ray.data.read_api import from_blocks

    from workers.shards.shard_block import dataset_name, shard_block

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    return {
        dataset_name(shard): from_blocks([shard_block(plan.data.shard(shard))])
        for shard in range(plan.job.data.num_shards)
    }


def _explain_failure(error: Exception, failures_left: int) -> JobError:
    """Return the JobError behind a failed fit, else an error with the first worker's failure."""
    failures = [e for e in getattr(error, "worker_failures", {}).values() if e is not None]
    if (ended_by := getattr(error, "controller_failure", None)) is not None:
        failures = [ended_by]
    for failure in failures:
        if found := _job_error_in(failure):
            return found
    why = _last_line(failures[0] if failures else error)
    again = f", and again after {failures_left} restarts" if failures_left else ""
    return WorkerFailedError(
        f"a worker failed{again}: {why}" if failures else f"Ray Train gave up: {why}",
        "see the workers' logs in the run folder",
    )
