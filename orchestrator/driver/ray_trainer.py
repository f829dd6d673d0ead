"""A job's training on Ray: connect, let Ray queue for capacity, train, and watch over Ray Train."""

import contextlib
import logging
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator import runs
from orchestrator.cluster.capacity import (
    ResourceRequest,
    check_gpus_here,
    format_resources,
    why_it_cannot_fit,
)
from orchestrator.driver.reservation import note_reservation, take_back_reservation
from orchestrator.runs.hardware import best_precision
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import Plan
from orchestrator.units import parse_duration, show_duration
from workers.errors import JobStoppedError, ResourcesError, StorageError
from workers.records.run_folder import RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.records.activity import Report
    from workers.train import TrainResult

T = TypeVar("T")
log = logging.getLogger(__name__)
_CAPACITY_POLL_S = 1.0
_PACKAGES = ("orchestrator", "workers")
_STATUS_LAG_S = 2.0
"""How much later than it happens status.json may say that workers run."""
_SOME_GPU = 0.01
"""The share of a GPU that a question about it takes. Workers may hold the rest of it."""
_DATA_CPUS = 2
"""Logical CPUs beside those of the workers on a Ray of its own, so that Ray Data gets its share."""


class RayTrainer:
    """A `Trainer` on Ray: one of its own on this machine, or the cluster this process runs on."""

    def __init__(self, private_dir: str | None, code_dir: str | None = None) -> None:
        """
        Args:
            private_dir: the folder for the files of a Ray of its own; None joins the cluster.
            code_dir: the folder with the code that the cluster's workers need; None if they have
                it.
        """
        self._private_dir = private_dir
        self._code_dir = code_dir
        self._waiting_since = time.monotonic()
        self._topic = secrets.token_hex(8)
        """What the workers' reports are found by. New, so that none of an earlier driver is."""
        self._check_may_wait: Callable[[], None] = lambda: None
        """Raises JobError once the job is no longer to wait for its workers."""

    def __enter__(self) -> "RayTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def wait_for_capacity(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Let Ray queue for the resources of the workers, before anything heavy is loaded."""
        import ray
        from ray.util.placement_group import placement_group, remove_placement_group

        self._check_may_wait = lambda: self._give_up_if_stopped_or_late(run, spec)
        self._connect(spec)
        log.info("connected to Ray")
        take_back_reservation(run)
        self._try_own_model(run, spec)
        request = ResourceRequest.of(spec)
        group = placement_group([request.per_worker] * request.num_workers)
        try:
            while not group.wait(_CAPACITY_POLL_S):
                say(what_is_missing(spec, ray.nodes(), ray.available_resources()))
                self._check_may_wait()
        finally:
            remove_placement_group(group)
        log.info("there is capacity for the workers")

    def _try_own_model(self, run: RunFolder, spec: JobSpec) -> None:
        """Try a user's own model where that was not possible when the job was submitted."""
        from orchestrator.driver.model_trial import try_in_task, try_run

        if spec.model.class_path is None:
            return
        warnings = []
        if self._private_dir is None:  # on a cluster, this process has the packages of the job
            warnings = try_run(run.storage.uri)
        elif spec.env.pip:
            warnings = try_in_task(run, spec.env.pip)
        for warning in warnings:
            log.warning("%s", warning)

    def _connect(self, spec: JobSpec) -> None:
        import ray

        per_worker, (_, most) = ResourceRequest.of(spec).per_worker, spec.scaling.worker_range
        num_cpus = int(most * per_worker["CPU"]) + _DATA_CPUS
        connect_to_ray(self._private_dir, num_cpus, self._runtime_env())
        if self._private_dir is not None:
            check_gpus_here(spec, ray.cluster_resources().get("GPU", 0.0))

    def _runtime_env(self) -> dict[str, Any] | None:
        """Return what the workers get from this process: the code, if they do not have it."""
        if self._code_dir is None:
            return None
        return {"py_modules": [f"{self._code_dir}/{package}" for package in _PACKAGES]}

    def resolve_precision(self, gpu: bool) -> str:
        """Ask where a worker would run, since the driver's machine may have other hardware."""
        import ray

        from orchestrator.driver.torch_trainer import preload

        if self._private_dir is not None and not gpu:
            return best_precision(False)
        task = ray.remote(num_cpus=1, num_gpus=_SOME_GPU if gpu else 0)(best_precision)
        asked = task.remote(gpu)
        preload()  # meanwhile: it takes about as long as the task's process needs to start
        while not ray.wait([asked], timeout=_CAPACITY_POLL_S)[0]:
            self._check_may_wait()  # another job may have taken the resources in the meantime
        precision: str = ray.get(asked)
        return precision

    def train(self, plan: Plan) -> "TrainResult":
        from orchestrator.driver.torch_trainer import build_trainer, fit, parse_result
        from workers.records.ray_reports import forget_reports

        run = RunFolder.at(plan.job.run_uri).with_retries()
        failures_left = plan.spec.limits.max_failures - run.num_failures()
        # On a cluster, the workers inherit the packages of the job.
        pip = plan.spec.env.pip if self._private_dir is not None else ()
        trainer = build_trainer(plan, failures_left, self._topic, pip)
        note_reservation(run, trainer)
        log.info("the shards are in Ray")
        try:
            return parse_result(
                self._run_watched(lambda: fit(trainer, failures_left), run, plan.spec)
            )
        finally:
            self._topic, old = "", self._topic
            forget_reports(old)
            with contextlib.suppress(StorageError):
                run.storage.delete(run.RAY_TRAIN)

    def reports(self) -> list["Report"]:
        from workers.records.ray_reports import read_reports

        return read_reports(self._topic) if self._topic else []

    def end_workers(self) -> None:
        from workers.records.ray_reports import end_workers

        end_workers(self.reports())

    def _run_watched(self, function: Callable[[], T], run: RunFolder, spec: JobSpec) -> T:
        """Run a function in a thread, and give up if the workers do not start in time or ignore a
        request to stop. Ray Train itself would wait for ever."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def target() -> None:
            try:
                answers.append(function())
            except BaseException as error:  # noqa: BLE001  # raised again below
                errors.append(error)

        thread = threading.Thread(target=target, name="fit", daemon=True)
        thread.start()
        self._watch_until_end(thread, run, spec)
        if errors:
            raise errors[0]
        return answers[0]

    def _watch_until_end(self, thread: threading.Thread, run: RunFolder, spec: JobSpec) -> None:
        """Return when the thread has ended. Raises JobError to give up."""
        stop_seen_at: float | None = None
        while True:
            thread.join(run.poll_s)
            if not thread.is_alive():
                return
            now = time.monotonic()
            is_waiting = runs.read_status(run).state in (runs.PENDING, runs.RESTARTING)
            if request := run.stop_request():
                stop_seen_at = stop_seen_at or now
                # The status lags behind: workers that seem to wait may have begun.
                grace_s = _STATUS_LAG_S + 2 * run.poll_s if is_waiting else request.grace_s
                if now - stop_seen_at > grace_s:
                    raise _stop_without_workers(run, is_waiting)
            elif is_waiting:
                self._give_up_if_late(spec)
            if not is_waiting:
                self._waiting_since = now  # workers that are lost later have as long again

    def _give_up_if_stopped_or_late(self, run: RunFolder, spec: JobSpec) -> None:
        if run.stop_request():
            raise _stop_without_workers(run, is_waiting=True)
        self._give_up_if_late(spec)

    def _give_up_if_late(self, spec: JobSpec) -> None:
        import ray

        limit_s = parse_duration(spec.limits.pending_timeout)
        if time.monotonic() - self._waiting_since > limit_s:
            missing = what_is_missing(spec, ray.nodes(), ray.available_resources())
            raise ResourcesError(
                f"the workers did not start within {show_duration(limit_s)}: {missing}",
                f"ask for less: {ResourceRequest.of(spec).options}; or wait longer: "
                "--pending-timeout",
            )


def _stop_without_workers(run: RunFolder, is_waiting: bool) -> JobStoppedError:
    """Return the outcome of a job whose stop no worker carried out."""
    request = run.stop_request() or StopRequest("a stop was asked for")
    late = f"the workers did not end within {show_duration(request.grace_s)}"
    has_begun = runs.read_status(run).attempt > 0
    begin = "go on from the last checkpoint" if has_begun else "start it"
    return JobStoppedError(
        f"{request.reason}{', while no worker ran' if is_waiting else f'; {late}'}",
        f"{begin}: {runs.next_command(run, 'resume')}",
        request.exit_code,
    )


def connect_to_ray(
    private_dir: str | None, num_cpus: int, runtime_env: dict[str, Any] | None = None
) -> None:
    """Start a Ray on this machine, or join the cluster that this process runs on.

    Args:
        private_dir: the folder for the files of a Ray of its own; None joins the cluster.
        num_cpus: the logical CPUs of a Ray of its own.
        runtime_env: what a cluster's workers get from this process.
    """
    import ray

    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "logging_config": ray.LoggingConfig(log_level="ERROR"),
    }
    with keep_logging_and_signals():
        if private_dir is None:
            ray.init(address="auto", runtime_env=runtime_env, **quiet)
            return
        ray.init(
            address="local",
            num_cpus=num_cpus,
            include_dashboard=False,
            # Ray opens this folder to all users. The one above it stays private.
            _temp_dir=f"{private_dir}/ray",
            **quiet,
        )


@contextlib.contextmanager
def keep_logging_and_signals() -> Iterator[None]:
    """Restore this process's log handlers and its handler of SIGTERM after ray.init.

    Ray's logging_config is for its workers but takes over the root logger of this process, too: the
    driver's own log would end here. Ray's handler of SIGTERM would end the process without a
    checkpoint.
    """
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    is_main_thread = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if is_main_thread:
            signal.signal(signal.SIGTERM, on_sigterm)


def what_is_missing(spec: JobSpec, nodes: list[dict[str, Any]], available: dict[str, float]) -> str:
    """Say in one line what keeps the fewest workers of a job from starting.

    Args:
        nodes: what `ray.nodes()` returns.
        available: what is free in the whole cluster, as `ray.available_resources()` returns it.
    """
    request = ResourceRequest.of(spec)
    per_worker = request.per_worker
    free = format_resources({name: available.get(name, 0.0) for name in per_worker})
    living = (node["Resources"] for node in nodes if node["Alive"])
    return why_it_cannot_fit(request, living) or (
        f"{request.num_workers} worker(s) need {format_resources(per_worker)} each, {free} are "
        "free: others hold the rest"
    )
