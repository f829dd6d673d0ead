"""The facts from which `diagnosis` draws its answer. What cannot be had in time is left out."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from orchestrator import runs
from orchestrator.cluster import dashboard, ray_jobs_api
from orchestrator.cluster.capacity import ResourceRequest
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.ray_jobs_api import RayJob, Scaling
from orchestrator.observe.deadline import ask_within
from orchestrator.observe.observer import Observer
from orchestrator.runs import RunStatus
from orchestrator.runs.history import restart_lines
from orchestrator.runs.logs import read_logs
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import read_spec
from orchestrator.units import show_duration
from workers.errors import ClusterError, InputError, JobError, StorageError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

_DEADLINE_S = 3.5
_TIMEOUT_S = 3.0
_LAST_LINES = 60
_STATES_HOLDING_CPUS = frozenset({runs.PENDING, runs.RUNNING, runs.RESTARTING})


@dataclass(frozen=True)
class Holder:
    """Another run of the same storage on the same cluster, and the CPUs that it holds."""

    run_id: str
    state: str
    cpus: float


@dataclass(frozen=True)
class Facts:
    """Everything that an answer is drawn from."""

    status: RunStatus
    command: Callable[..., str]
    """Returns a command about this run, to paste, for a verb and further words."""
    log: tuple[str, ...] = ()
    """The last lines of its logs, oldest first."""
    progress: str = ""
    """The last step or epoch that the training recorded."""
    restarts: tuple[str, ...] = ()
    """What each restart was for, oldest first."""
    request: ResourceRequest | None = None
    """What its workers ask for; None if its spec cannot be read."""
    job: RayJob | None = None
    """None if the cluster does not know the job, was not asked, or cannot be asked."""
    refusal: JobError | None = None
    """Why the cluster could not be asked."""
    nodes: tuple[Node, ...] = ()
    scaling: Scaling = field(default_factory=Scaling)
    others: tuple[Holder, ...] = ()

    @property
    def lines_about_the_end(self) -> tuple[list[str], list[str], list[str]]:
        """What says how the run ended, the most telling source first: the reason, Ray's message,
        and the log, whose lines may be of an earlier attempt. In each the last line comes first."""
        message = self.job.message.splitlines() if self.job else []
        return [self.status.reason], message[::-1], list(self.log[::-1])


def gather(
    observer: Observer, connect: Callable[[RunStatus], Connection], storage: Storage
) -> Facts:
    """Gather the facts of a run, within ten seconds.

    Args:
        observer: of the run.
        connect: returns the way to the cluster of a run; may raise InputError.
        storage: that of the run, to find the runs that hold what this one waits for.

    Raises NoSuchRunError or StorageError.
    """
    run = observer.run
    status = observer.status()
    if status.is_on_cluster and status.is_terminal and observer.job is None:
        observer.ask(status)  # the cluster may still know more of the end than the record says
    cluster = _ask_cluster(observer, status, connect)
    spec = _spec(run)
    facts = Facts(
        status=status,
        command=lambda verb, *more: runs.next_command(run, verb, *more),
        log=_last_log_lines(run),
        progress=run.use_metrics(_progress),
        restarts=tuple(restart_lines(run)),
        request=ResourceRequest.of(spec) if spec else None,
        job=observer.job,
        refusal=observer.refusal,
        nodes=cluster.nodes,
        scaling=cluster.scaling,
    )
    if status.is_terminal or not cluster.nodes:
        return facts
    return replace(facts, others=_holders(storage, status, cluster.jobs))


@dataclass(frozen=True)
class _Cluster:
    """What a cluster says of itself. What it does not say is left out."""

    nodes: tuple[Node, ...] = ()
    scaling: Scaling = field(default_factory=Scaling)
    jobs: dict[str, RayJob] = field(default_factory=dict)


def _ask_cluster(
    observer: Observer, status: RunStatus, connect: Callable[[RunStatus], Connection]
) -> _Cluster:
    """Ask what keeps a run from running, if its cluster answered just now."""
    if not status.is_on_cluster or status.is_terminal or observer.refusal:
        return _Cluster()

    def ask() -> _Cluster:
        try:
            connection = connect(status)
            return _Cluster(
                tuple(dashboard.list_nodes(connection, _TIMEOUT_S)),
                ray_jobs_api.scaling(connection, _TIMEOUT_S),
                ray_jobs_api.list_jobs(connection, _TIMEOUT_S),
            )
        except (ClusterError, InputError):
            return _Cluster()

    return ask_within(_DEADLINE_S, {"cluster": ask}).get("cluster", _Cluster())


def _spec(run: RunFolder) -> JobSpec | None:
    with contextlib.suppress(JobError, FileNotFoundError):
        return read_spec(run)
    return None


def _last_log_lines(run: RunFolder) -> tuple[str, ...]:
    with contextlib.suppress(StorageError, FileNotFoundError):
        return tuple(str(line) for line in read_logs(run)[-_LAST_LINES:])
    return ()


def _progress(records: Iterable[dict[str, Any]]) -> str:
    steps = (record for record in records if record.get("kind") in ("step", "epoch"))
    last = next(iter(deque(steps, maxlen=1)), None)
    if last is None:
        return ""
    loss = last.get("loss", last.get("train_loss"))
    told = f"step {last.get('step')}" + (f", loss {loss:.4f}" if loss is not None else "")
    at = last.get("time")
    return f"last told: {told}" + (f", {show_duration(time.time() - at)} ago" if at else "")


def _holders(storage: Storage, status: RunStatus, jobs: dict[str, RayJob]) -> tuple[Holder, ...]:
    """Return the other runs of the storage that hold CPUs of the same cluster.

    `jobs`: what the cluster knows. What it does not know, or what has ended there, holds nothing.
    """
    found = []
    for other in runs.list_runs(storage):
        is_beside = other.address == status.address and other.run_id != status.run_id
        job = jobs.get(other.job_id or other.run_id)
        is_lost = bool(jobs) and (job is None or job.is_terminal)
        if not is_beside or is_lost or other.state not in _STATES_HOLDING_CPUS:
            continue
        cpus = _cpus_of_worker(RunFolder(storage.child(other.run_id)))
        found.append(Holder(other.run_id, other.state, cpus * (other.workers or 0)))
    return tuple(found)


def _cpus_of_worker(run: RunFolder) -> float:
    """Return the CPUs that a worker of a run holds: what it had at its last start, if its spec
    leaves that open. 0 if neither is known."""
    spec = _spec(run)
    if spec is None or spec.scaling.cpus_per_worker != "auto":
        return ResourceRequest.of(spec).per_worker["CPU"] if spec else 0.0
    with contextlib.suppress(StorageError):
        starts = run.use_metrics(
            lambda records: [r.get("cpus_per_worker") for r in records if r.get("kind") == "start"]
        )
        if starts and starts[-1]:
            return float(starts[-1])
    return ResourceRequest.of(spec).per_worker["CPU"]
