"""A planned job through Ray Train: TorchTrainer over one Ray Data dataset per shard."""

import contextlib
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator import runs
from orchestrator.job_spec import JobSpec
from orchestrator.plan import Plan, best_precision
from orchestrator.units import parse_duration, show_duration
from workers.config import SPLITS
from workers.errors import JobError, JobStoppedError, ResourcesError, WorkerFailedError
from workers.run_folder import RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.train import TrainResult

T = TypeVar("T")
log = logging.getLogger(__name__)
_ROOM_POLL_S = 1.0
_STOP_GRACE_S = 120.0
"""A step, an evaluation and a checkpoint should fit; workers that hang do not end by themselves."""
_DATA_CPUS = 2
"""Logical CPUs beside the workers' on a Ray of its own, so that Ray Data is never starved."""


class RayTrainer:
    """Trains on Ray: one of its own on this machine, or the cluster that this process runs on."""

    def __init__(self, private_dir: str | None) -> None:
        """`private_dir`: where a Ray of its own keeps its files; None to join the cluster."""
        self._private_dir = private_dir
        self._begun = time.monotonic()

    def __enter__(self) -> "RayTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def wait_for_room(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Has Ray itself queue for the workers' resources, before anything heavy is loaded."""
        import ray
        from ray.util.placement_group import placement_group, remove_placement_group

        self._connect(spec)
        log.info("connected to Ray")
        group = placement_group([_bundle(spec)] * spec.scaling.worker_range[0])
        try:
            while not group.wait(_ROOM_POLL_S):
                say(what_is_missing(spec, ray.nodes(), ray.available_resources()))
                self._give_up_if_due(run, spec)
        finally:
            remove_placement_group(group)
        log.info("there is room for the workers")

    def _connect(self, spec: JobSpec) -> None:
        import ray

        quiet: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": "ERROR",
            "logging_config": ray.LoggingConfig(log_level="ERROR"),
        }
        if self._private_dir is None:
            with _own_logging():
                ray.init(address="auto", **quiet)
            return
        bundle, (fewest, most) = _bundle(spec), spec.scaling.worker_range
        with _own_logging():
            ray.init(
                address="local",
                num_cpus=int(most * bundle["CPU"]) + _DATA_CPUS,
                include_dashboard=False,
                _temp_dir=self._private_dir,
                **quiet,
            )
        found, wanted = ray.cluster_resources().get("GPU", 0.0), fewest * bundle.get("GPU", 0.0)
        if wanted > found:
            raise ResourcesError(
                f"{fewest} worker(s) with a GPU each need {wanted:g}, this machine has {found:g}",
                "lower --workers or --gpus-per-worker, or leave GPUs out: --gpus-per-worker 0",
            )

    def settle_precision(self, gpu: bool) -> str:
        """Asked where a worker would run: the driver's machine may have other hardware."""
        import ray

        if self._private_dir is not None and not gpu:
            return best_precision(False)
        task = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0)(best_precision)
        precision: str = ray.get(task.remote(gpu))
        return precision

    def train(self, plan: Plan) -> "TrainResult":
        with tempfile.TemporaryDirectory(prefix="rnnjob-train-", dir=self._private_dir) as scratch:
            trainer = _trainer(plan, scratch)
            log.info("the shards are in Ray")
            answer = self._supervised(lambda: _return_value(trainer, plan), plan)
        return _result_of(answer)

    def _supervised(self, function: Callable[[], T], plan: Plan) -> T:
        """Runs a function beside this thread; gives up where the workers do not start in time, or
        the job is to stop before they do. Ray Train itself would wait for ever."""
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
        stop_seen: float | None = None
        while thread.is_alive():
            thread.join(run.poll_s)
            state = runs.read_status(run).state
            if state in (runs.PENDING, runs.RESTARTING):
                self._give_up_if_due(run, plan.spec)
                continue
            self._begun = time.monotonic()  # should the workers be lost, they have as long again
            if stop_seen is None:
                stop_seen = time.monotonic() if run.stop_request() else None
            elif time.monotonic() - stop_seen > _STOP_GRACE_S:
                raise self._unheeded(run)
        if errors:
            raise errors[0]
        return answers[0]

    def _unheeded(self, run: RunFolder) -> JobStoppedError:
        request = run.stop_request() or StopRequest("a stop was asked for")
        return JobStoppedError(
            f"{request.reason}; the workers did not end within {show_duration(_STOP_GRACE_S)}",
            f"go on from the last checkpoint: {runs.next_command(run, 'resume')}",
            request.exit_code,
        )

    def _give_up_if_due(self, run: RunFolder, spec: JobSpec) -> None:
        import ray

        if request := run.stop_request():
            raise JobStoppedError(
                f"{request.reason}, while no worker ran",
                f"go on: {runs.next_command(run, 'resume')}",
                request.exit_code,
            )
        limit_s = parse_duration(spec.limits.pending_timeout)
        if time.monotonic() - self._begun > limit_s:
            missing = what_is_missing(spec, ray.nodes(), ray.available_resources())
            raise ResourcesError(
                f"the workers did not start within {show_duration(limit_s)}: {missing}",
                "ask for less: --workers, --cpus-per-worker; or wait longer: --pending-timeout",
            )


@contextlib.contextmanager
def _own_logging() -> Iterator[None]:
    """Ray's logging_config is for its workers, but takes over the root logger of this process, too:
    the driver's own log would end here."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def what_is_missing(spec: JobSpec, nodes: list[dict[str, Any]], available: dict[str, float]) -> str:
    """What keeps the fewest workers of a job from starting, in one line.

    Args:
        nodes: as `ray.nodes()` tells them.
        available: what is free in the whole cluster, as `ray.available_resources()`.
    """
    bundle, low = _bundle(spec), spec.scaling.worker_range[0]
    sizes = [node["Resources"] for node in nodes if node["Alive"]]
    wanted = _listed(bundle)
    room = sum(
        int(min(size.get(name, 0.0) // amount for name, amount in bundle.items())) for size in sizes
    )
    if not any(all(s.get(name, 0.0) >= n for name, n in bundle.items()) for s in sizes):
        largest = {name: max((s.get(name, 0.0) for s in sizes), default=0.0) for name in bundle}
        return (
            f"a worker needs {wanted}, the largest of {len(sizes)} node(s) has {_listed(largest)}"
        )
    if room < low:
        return f"{low} workers need {wanted} each, the {len(sizes)} node(s) have room for {room}"
    free = _listed({name: available.get(name, 0.0) for name in bundle})
    return f"{low} worker(s) need {wanted} each, {free} are free: others hold the rest"


def _listed(resources: dict[str, float]) -> str:
    return " and ".join(f"{amount:g} {name}" for name, amount in resources.items())


def _bundle(spec: JobSpec) -> dict[str, float]:
    """The resources of one worker."""
    cpus = spec.scaling.cpus_per_worker
    gpus = spec.scaling.gpus_per_worker
    bundle = {"CPU": 1.0 if cpus == "auto" else float(cpus)}
    return bundle | ({"GPU": float(gpus)} if gpus else {})


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
    return TorchTrainer(
        train_on_ray,
        train_loop_config={"job": job.model_dump_json()},
        scaling_config=ScalingConfig(
            num_workers=low if low == high else (low, high),
            use_gpu=spec.scaling.gpus_per_worker > 0,
            resources_per_worker=_bundle(spec),
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
            callbacks=[_failure_log(job.run_uri)],
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
        datasets=_datasets(plan),
        dataset_config=DataConfig(datasets_to_split=[]),
    )


def _failure_log(run_uri: str) -> Any:
    """Notes each failure of the workers in the run folder; called in Ray Train's controller."""
    from ray.train import UserCallback

    class FailureLog(UserCallback):  # type: ignore[misc]  # Ray is not typed
        def after_exception(
            self, run_context: Any, worker_exceptions: dict[int, Exception]
        ) -> None:
            # An error raised here would end the job.
            with contextlib.suppress(Exception):
                rank, error = next(iter(worker_exceptions.items()))
                RunFolder.at(run_uri).note_failure(f"worker {rank} failed: {_last_line(error)}")

    return FailureLog()


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else repr(error)


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
    return WorkerFailedError(
        f"a worker failed, and again after {max_failures} restarts: "
        f"{_last_line(causes[0] if causes else error)}",
        "see the workers' logs in the run folder",
    )
