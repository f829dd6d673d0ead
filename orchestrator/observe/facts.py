"""The facts from which `diagnosis` draws its answer. What cannot be had in time is left out."""

import contextlib
import threading
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

_DEADLINE_S = 6.0
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


def gather(observer: Observer, connect: Callable[[str], Connection], storage: Storage) -> Facts:
    """Gather the facts of a run, within ten seconds.

    Args:
        observer: of the run.
        connect: returns the way to the cluster of an address; may raise InputError.
        storage: that of the run, to find the runs that hold what this one waits for.

    Raises NoSuchRunError or StorageError.
    """
    run = observer.run
    asked = _Asked(observer, connect)
    status = asked.status
    spec = _spec(run)
    facts = Facts(
        status=status,
        command=lambda verb, *more: runs.next_command(run, verb, *more),
        log=_last_log_lines(run),
        progress=run.use_metrics(_progress),
        restarts=tuple(restart_lines(run)),
        request=ResourceRequest.of(spec) if spec else None,
        job=asked.job,
        refusal=asked.refusal,
        nodes=asked.nodes,
        scaling=asked.scaling,
    )
    if status.is_terminal or not asked.nodes:
        return facts
    return replace(facts, others=_holders(storage, status))


class _Asked:
    """What the cluster says. It is asked in a thread of its own, since a name server or a proxy
    that does not answer has no timeout that could be set here."""

    def __init__(self, observer: Observer, connect: Callable[[str], Connection]) -> None:
        self.status = runs.read_status(observer.run)
        self.job: RayJob | None = None
        self.refusal: JobError | None = None
        self.nodes: tuple[Node, ...] = ()
        self.scaling = Scaling()
        if not self.status.is_on_cluster:
            return
        thread = threading.Thread(target=self._ask, args=(observer, connect), daemon=True)
        thread.start()
        thread.join(_DEADLINE_S)
        if thread.is_alive():
            self.refusal = self.refusal or ClusterError(
                f"the cluster at {self.status.address} did not answer within {_DEADLINE_S:g} s",
                "check the address and that the cluster runs",
            )

    def _ask(self, observer: Observer, connect: Callable[[str], Connection]) -> None:
        address = self.status.address
        observer.ask(address)
        self.job, self.refusal = observer.job, observer.refusal
        if self.refusal:
            return
        self.status = observer.status()
        if self.status.is_terminal:
            return
        try:
            connection = connect(address)
            self.nodes = tuple(dashboard.list_nodes(connection, _TIMEOUT_S))
            self.scaling = ray_jobs_api.scaling(connection, _TIMEOUT_S)
        except (ClusterError, InputError):
            return  # the cluster answered just now: what it said of the job stands


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


def _holders(storage: Storage, status: RunStatus) -> tuple[Holder, ...]:
    """Return the other runs of the storage that hold CPUs of the same cluster."""
    found = []
    for other in runs.list_runs(storage):
        is_beside = other.address == status.address and other.run_id != status.run_id
        if not is_beside or other.state not in _STATES_HOLDING_CPUS:
            continue
        spec = _spec(RunFolder(storage.child(other.run_id)))
        cpus = ResourceRequest.of(spec).per_worker["CPU"] if spec else 0.0
        found.append(Holder(other.run_id, other.state, cpus * (other.workers or 0)))
    return tuple(found)
