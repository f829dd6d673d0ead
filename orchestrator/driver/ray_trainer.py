"""A job's training on Ray: connect, let Ray queue for capacity, train, and watch over Ray Train."""

import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.cluster.capacity import (
    ResourceRequest,
    Waiting,
    check_gpus_here,
    is_starting,
    why_they_wait,
)
from orchestrator.driver.ray_connection import connect_to_ray
from orchestrator.driver.ray_train.fit import (
    PRELOADED,
    ControllerLostError,
    build_trainer,
    fit,
    parse_result,
    preload,
    worker_environment,
)
from orchestrator.driver.ray_train.reservation import (
    holds_resources,
    note_reservation,
    remove_placement_groups,
    take_back_reservation,
)
from orchestrator.driver.worker_cpus import (
    cpus_on_cluster,
    is_open_on_cluster,
    settled_cpus_on_cluster,
)
from orchestrator.runs.hardware import best_precision, num_usable_cpus
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import Plan, shared_cpus
from orchestrator.units import parse_duration, show_duration
from workers.errors import JobStoppedError, ResourcesError, StorageError
from workers.records.run_folder import RunFolder, StopRequest

if TYPE_CHECKING:
    from workers.records.activity import Report
    from workers.records.train_result import TrainResult

log = logging.getLogger(__name__)
_CAPACITY_POLL_S = 1.0
_PACKAGES = ("orchestrator", "workers")
_STATUS_LAG_S = 2.0
"""How much later than it happens status.json may say that workers run."""
_SOME_GPU = 0.01
"""The share of a GPU that a question about it takes. Workers may hold the rest of it."""
_HELPERS = 2
"""The processes of Ray Train beside its workers: its controller and its synchronizer."""


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
        self._stop_seen_at: float | None = None
        """When the training that runs now saw that the job is to stop."""
        self._cpus = 1
        """The CPUs of a worker."""
        self._asked: JobSpec | None = None
        """See `_asked_for`; None until the job waits for capacity."""
        self._topic = ""
        """What the workers' reports are found by. New for each training, so that no old ones are.
        Empty if there is none."""
        self._check_may_wait: Callable[[], None] = lambda: None
        """Raises JobError once the job is no longer to wait for its workers."""

    def __enter__(self) -> "RayTrainer":
        return self

    def __exit__(self, *_: object) -> None:
        import ray

        ray.shutdown()

    def wait_for_capacity(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        """Let Ray queue for the resources of the workers, before anything heavy is loaded."""
        from ray.util.placement_group import remove_placement_group

        self._check_may_wait = lambda: self._give_up_if_stopped_or_late(run)
        self._choose_cpus(spec, shared_cpus(spec, num_usable_cpus(), spec.scaling.worker_range[1]))
        self._connect(spec)
        log.info("connected to Ray")
        take_back_reservation(run)
        self._try_own_model(run, spec)
        is_on_cluster = self._private_dir is None
        if is_on_cluster and run.num_failures():
            self._choose_cpus(spec, settled_cpus_on_cluster(spec, self._check_may_wait))
        elif is_on_cluster:
            self._choose_cpus(spec, cpus_on_cluster(spec))
        group = self._request()
        try:
            while not group.wait(_CAPACITY_POLL_S):
                say(why_they_wait_now(self._asked_for).cause)
                self._check_may_wait()
                if is_on_cluster and self._choose_cpus(spec, cpus_on_cluster(spec)):
                    remove_placement_group(group)  # others took CPUs, or have given some back
                    group = self._request()
        finally:
            remove_placement_group(group)
        log.info("there is capacity for the workers, of %d CPU(s) each", self._cpus)

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

    def _choose_cpus(self, spec: JobSpec, cpus: int) -> bool:
        """Have workers of so many CPUs. Return whether that is another number than before.

        On a Ray of its own, they ask for one: see `_connect`.
        """
        asked = cpus if self._private_dir is None else 1
        before, self._cpus = self._cpus, cpus
        self._asked = spec.with_values({"scaling.cpus_per_worker": asked})
        return before != cpus

    def _request(self) -> Any:
        """Ask Ray for the resources of the workers, and return the placement group."""
        from ray.util.placement_group import placement_group

        request = ResourceRequest.of(self._asked_for)
        return placement_group([request.per_worker] * request.num_workers)

    @property
    def _asked_for(self) -> JobSpec:
        """The spec, with the CPUs for which a worker asks Ray."""
        assert self._asked is not None, "wait_for_capacity comes first"
        return self._asked

    def _connect(self, spec: JobSpec) -> None:
        """Connect to Ray.

        Ray starts a process in advance for each logical CPU. So one of its own gets as many as Ray
        Train has processes, whatever the threads of a worker.
        """
        import ray

        num_cpus = 0
        if self._private_dir is not None:
            num_cpus = spec.scaling.worker_range[1] + _HELPERS
            # Ray's processes have what this one has.
            os.environ.update(worker_environment(spec.scaling.gpus_per_worker, True))
        connect_to_ray(self._private_dir, num_cpus, self._runtime_env(), PRELOADED)
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
        has_open_cpus = self._private_dir is None and is_open_on_cluster(plan.spec)
        plan = plan.with_cpus(self._cpus)
        run = RunFolder.at(plan.job.run_uri).with_retries()
        try:
            while True:
                failures_left = plan.spec.limits.max_failures - run.num_failures()
                try:
                    return self._train_once(plan, run, failures_left, has_open_cpus)
                except ControllerLostError as error:
                    if failures_left <= 0:
                        raise
                    log.warning("%s", error.cause)
                    run.note_failure(error.cause)
                    take_back_reservation(run)
                    remove_placement_groups()
        finally:
            with contextlib.suppress(StorageError):
                run.storage.delete(run.RAY_TRAIN)

    def _train_once(
        self, plan: Plan, run: RunFolder, failures_left: int, has_open_cpus: bool
    ) -> "TrainResult":
        from workers.records.ray_reports import forget_reports

        # On a cluster, the workers inherit the packages of the job.
        pip = plan.spec.env.pip if self._private_dir is not None else ()
        self._topic = secrets.token_hex(8)
        self._stop_seen_at = None
        has_own_ray = self._private_dir is not None
        trainer = build_trainer(
            plan,
            failures_left,
            self._topic,
            lambda: self._look_after(run),
            pip,
            has_own_ray=has_own_ray,
            has_open_cpus=has_open_cpus,
        )
        note_reservation(run, trainer)
        log.info("the shards are in Ray")
        try:
            return parse_result(fit(trainer, failures_left))
        finally:
            self._topic, old = "", self._topic
            forget_reports(old)

    def reports(self) -> list["Report"]:
        from workers.records.ray_reports import read_reports

        return read_reports(self._topic) if self._topic else []

    def end_workers(self) -> None:
        from workers.records.ray_reports import end_workers

        end_workers(self.reports())

    def _look_after(self, run: RunFolder) -> None:
        """Give up if the workers do not start in time or ignore a request to stop. Ray Train itself
        would wait for ever. Raises JobError."""
        now = time.monotonic()
        is_waiting = runs.read_status(run).state in (runs.PENDING, runs.RESTARTING)
        if request := run.stop_request():
            self._stop_seen_at = self._stop_seen_at or now
            # The status lags behind: workers that seem to wait may have begun.
            grace_s = _STATUS_LAG_S + 2 * run.poll_s if is_waiting else request.grace_s
            if now - self._stop_seen_at > grace_s:
                raise _stop_without_workers(run, is_waiting)
        elif is_waiting:
            self._give_up_if_late()
        if not is_waiting:
            self._waiting_since = now  # workers that are lost later have as long again

    def _give_up_if_stopped_or_late(self, run: RunFolder) -> None:
        if run.stop_request():
            raise _stop_without_workers(run, is_waiting=True)
        self._give_up_if_late()

    def _give_up_if_late(self) -> None:
        spec = self._asked_for
        limit_s = parse_duration(spec.limits.pending_timeout)
        if time.monotonic() - self._waiting_since > limit_s:
            cause, cure = why_they_wait_now(spec)
            raise ResourcesError(
                f"the workers did not start within {show_duration(limit_s)}: {cause}", cure
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


def why_they_wait_now(spec: JobSpec) -> Waiting:
    """Ask Ray why the fewest workers of a job have not started."""
    import ray
    from ray._private.state import available_resources_per_node

    request = ResourceRequest.of(spec)
    if holds_resources():
        return is_starting(request)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return why_they_wait(request, nodes, available_resources_per_node().values())
