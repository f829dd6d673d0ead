"""A job's training on Ray: connect, have Ray queue for room, and watch over Ray Train."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator import runs
from orchestrator.hardware import best_precision
from orchestrator.job_spec import JobSpec
from orchestrator.plan import Plan
from orchestrator.room import Need, listed, what_never_fits
from orchestrator.units import parse_duration, show_duration
from workers.errors import JobStoppedError, ResourcesError, StorageError
from workers.run_folder import RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.train import TrainResult

T = TypeVar("T")
log = logging.getLogger(__name__)
_ROOM_POLL_S = 1.0
_LAG_S = 2.0
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
        self._waiting: Callable[[], None] = lambda: None
        """Raises where the job is no longer to wait."""

    def __enter__(self) -> "RayTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def wait_for_room(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Has Ray itself queue for the workers' resources, before anything heavy is loaded."""
        import ray
        from ray.util.placement_group import placement_group, remove_placement_group

        self._waiting = lambda: self._give_up_if_due(run, spec)
        self._connect(spec)
        log.info("connected to Ray")
        group = placement_group([Need.of(spec).each] * spec.scaling.worker_range[0])
        try:
            while not group.wait(_ROOM_POLL_S):
                say(what_is_missing(spec, ray.nodes(), ray.available_resources()))
                self._waiting()
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
            with own_ways():
                ray.init(address="auto", **quiet)
            return
        bundle, (fewest, most) = Need.of(spec).each, spec.scaling.worker_range
        with own_ways():
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

        from orchestrator.torch_trainer import preload

        if self._private_dir is not None and not gpu:
            return best_precision(False)
        task = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0)(best_precision)
        asked = task.remote(gpu)
        preload()  # meanwhile: it takes about as long as that task's process needs to start
        while not ray.wait([asked], timeout=_ROOM_POLL_S)[0]:
            self._waiting()  # others may have taken the room in the meantime
        precision: str = ray.get(asked)
        return precision

    def train(self, plan: Plan) -> "TrainResult":
        from orchestrator.torch_trainer import build_trainer, fit, result_of

        run = RunFolder.at(plan.job.run_uri).patient()
        failures_left = plan.spec.limits.max_failures - run.num_failures()
        trainer = build_trainer(plan, failures_left)
        log.info("the shards are in Ray")
        try:
            return result_of(self._supervised(lambda: fit(trainer, failures_left), plan))
        finally:
            with contextlib.suppress(StorageError):
                run.storage.delete(run.RAY_TRAIN)

    def _supervised(self, function: Callable[[], T], plan: Plan) -> T:
        """Runs a function beside this thread; gives up where the workers do not start in time, or
        do not heed a stop. Ray Train itself would wait for ever."""
        answers: list[T] = []
        errors: list[BaseException] = []

        def target() -> None:
            try:
                answers.append(function())
            except BaseException as error:  # noqa: BLE001  # raised again below
                errors.append(error)

        thread = threading.Thread(target=target, name="fit", daemon=True)
        thread.start()
        self._watch_over(thread, RunFolder.at(plan.job.run_uri).patient(), plan.spec)
        if errors:
            raise errors[0]
        return answers[0]

    def _watch_over(self, thread: threading.Thread, run: RunFolder, spec: JobSpec) -> None:
        """Returns when the thread has ended. Raises JobError."""
        stop_seen: float | None = None
        while True:
            thread.join(run.poll_s)
            if not thread.is_alive():
                return
            now = time.monotonic()
            waits = runs.read_status(run).state in (runs.PENDING, runs.RESTARTING)
            if run.stop_request():
                stop_seen = stop_seen or now
                # What the workers do shows with a delay: these may have begun.
                if now - stop_seen > (_LAG_S + 2 * run.poll_s if waits else _STOP_GRACE_S):
                    raise self._unheeded(run, waits)
            elif waits:
                self._give_up_if_late(spec)
            if not waits:
                self._begun = now  # should the workers be lost, they have as long again

    def _unheeded(self, run: RunFolder, waits: bool) -> JobStoppedError:
        request = run.stop_request() or StopRequest("a stop was asked for")
        late = f"the workers did not end within {show_duration(_STOP_GRACE_S)}"
        return JobStoppedError(
            f"{request.reason}{', while no worker ran' if waits else f'; {late}'}",
            f"go on from the last checkpoint: {runs.next_command(run, 'resume')}",
            request.exit_code,
        )

    def _give_up_if_due(self, run: RunFolder, spec: JobSpec) -> None:
        if run.stop_request():
            raise self._unheeded(run, waits=True)
        self._give_up_if_late(spec)

    def _give_up_if_late(self, spec: JobSpec) -> None:
        import ray

        limit_s = parse_duration(spec.limits.pending_timeout)
        if time.monotonic() - self._begun > limit_s:
            missing = what_is_missing(spec, ray.nodes(), ray.available_resources())
            raise ResourcesError(
                f"the workers did not start within {show_duration(limit_s)}: {missing}",
                "ask for less: --workers, --cpus-per-worker; or wait longer: --pending-timeout",
            )


@contextlib.contextmanager
def own_ways() -> Iterator[None]:
    """Ray's logging_config is for its workers, but takes over the root logger of this process, too:
    the driver's own log would end here. Its handler of SIGTERM would end the process, without a
    checkpoint."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    is_main = threading.current_thread() is threading.main_thread()
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if is_main:
            signal.signal(signal.SIGTERM, on_sigterm)


def what_is_missing(spec: JobSpec, nodes: list[dict[str, Any]], available: dict[str, float]) -> str:
    """What keeps the fewest workers of a job from starting, in one line.

    Args:
        nodes: as `ray.nodes()` tells them.
        available: what is free in the whole cluster, as `ray.available_resources()`.
    """
    need = Need.of(spec)
    free = listed({name: available.get(name, 0.0) for name in need.each})
    return what_never_fits(need, (node["Resources"] for node in nodes if node["Alive"])) or (
        f"{need.workers} worker(s) need {listed(need.each)} each, {free} are free: others hold "
        "the rest"
    )
