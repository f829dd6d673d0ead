"""Gathers what `orchestrator.why` draws its answer from. What cannot be had in time is left out."""

import contextlib
import threading
import time
from dataclasses import replace
from typing import Any

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster import dashboard, jobs
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.jobs import RayJob, Scaling
from orchestrator.job_spec import JobSpec
from orchestrator.logs import read_logs
from orchestrator.observer import is_on_a_cluster
from orchestrator.plan import read_spec
from orchestrator.restarts import restarts_of
from orchestrator.room import Need
from orchestrator.runs import RunStatus, next_command
from orchestrator.units import show_duration
from orchestrator.why import Facts, Holder
from workers.errors import ClusterError, InputError, JobError, StorageError
from workers.run_folder import RunFolder

_DEADLINE_S = 6.0
_TIMEOUT_S = 3.0
_LAST_LINES = 60
_HOLDING = frozenset({runs.PENDING, runs.RUNNING, runs.RESTARTING})


def gather(client: Client, name: str) -> Facts:
    """The facts of a run, within ten seconds. Raises NoSuchRunError or StorageError."""
    run = client.get_run(name)
    asked = _Asked(client, run)
    status = asked.status
    spec = _spec(run)
    facts = Facts(
        status=status,
        command=lambda verb, *more: next_command(run, verb, *more),
        log=_last_log_lines(run),
        progress=_progress(run.read_metrics()),
        restarts=tuple(restarts_of(run)),
        need=Need.of(spec) if spec else None,
        job=asked.job,
        refusal=asked.refusal,
        nodes=asked.nodes,
        scaling=asked.scaling,
    )
    if status.is_terminal or not asked.nodes:
        return facts
    return replace(facts, others=_others(client, status))


class _Asked:
    """What the cluster says, asked in a thread of its own: a name server or a proxy that does not
    answer has no timeout that could be set here."""

    def __init__(self, client: Client, run: RunFolder) -> None:
        self.status = runs.read_status(run)
        self.job: RayJob | None = None
        self.refusal: JobError | None = None
        self.nodes: tuple[Node, ...] = ()
        self.scaling = Scaling()
        if not is_on_a_cluster(self.status):
            return
        thread = threading.Thread(target=self._ask, args=(client, run), daemon=True)
        thread.start()
        thread.join(_DEADLINE_S)
        if thread.is_alive():
            self.refusal = self.refusal or ClusterError(
                f"the cluster at {self.status.address} did not answer within {_DEADLINE_S:g} s",
                "check the address and that the cluster runs",
            )

    def _ask(self, client: Client, run: RunFolder) -> None:
        observer = client.observe(run.run_id)
        address = self.status.address
        observer.ask(address)
        self.job, self.refusal = observer.job, observer.refusal
        if self.refusal:
            return
        self.status = observer.status()
        if self.status.is_terminal:
            return
        try:
            connection = client.connection(address)
            self.nodes = tuple(dashboard.list_nodes(connection, _TIMEOUT_S))
            self.scaling = jobs.scaling(connection, _TIMEOUT_S)
        except (ClusterError, InputError):
            return  # it answered just now: what it said of the job stands


def _spec(run: RunFolder) -> JobSpec | None:
    with contextlib.suppress(JobError, FileNotFoundError):
        return read_spec(run)
    return None


def _last_log_lines(run: RunFolder) -> tuple[str, ...]:
    with contextlib.suppress(StorageError, FileNotFoundError):
        return tuple(str(line) for line in read_logs(run)[-_LAST_LINES:])
    return ()


def _progress(records: list[dict[str, Any]]) -> str:
    steps = [record for record in records if record.get("kind") in ("step", "epoch")]
    if not steps:
        return ""
    last = steps[-1]
    loss = last.get("loss", last.get("train_loss"))
    told = f"step {last.get('step')}" + (f", loss {loss:.4f}" if loss is not None else "")
    at = last.get("time")
    return f"last told: {told}" + (f", {show_duration(time.time() - at)} ago" if at else "")


def _others(client: Client, status: RunStatus) -> tuple[Holder, ...]:
    found = []
    for other in client.list_runs():
        same_place = other.address == status.address and other.run_id != status.run_id
        if not same_place or other.state not in _HOLDING:
            continue
        spec = _spec(client.get_run(other.run_id))
        cpus = Need.of(spec).each["CPU"] * (other.workers or 0) if spec else 0.0
        found.append(Holder(other.run_id, other.state, cpus))
    return tuple(found)
