"""Decide the state of a run: from its record, its process, its owner's lease and its cluster.

Every verb tells what `decide` returns, so all tell the same. It reads and writes nothing. Two of
the states are only ever decided, never recorded: LOST, if nobody runs the run any more and nobody
wrote how it ended, and UNREACHABLE, if nobody who could know answers.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestrator import runs
from orchestrator.cluster.ray_jobs_api import RayJob
from orchestrator.runs import Process, RunStatus
from orchestrator.units import show_duration
from workers.errors import JobError, UnreachableError

_SUBMISSION_S = 600.0
"""How long a submission may take. A job that the cluster does not know yet is not lost."""
_STOPPED_EXIT = 5


@dataclass(frozen=True)
class Evidence:
    """What is known of a run beside its record."""

    process: Process = Process.ELSEWHERE
    """Whether the process that the record names runs on this machine."""
    has_lease: bool | None = None
    """Whether the run's owner renews its lease; None if that cannot be told."""
    is_silent: bool = False
    """Whether the owner's last sign of life is longer ago than it should be."""
    is_released: bool = False
    """Whether the owner said that it runs the run no more."""
    seen_at: float | None = None
    """The Unix time of the owner's last sign of life."""
    is_asked: bool = False
    """Whether the cluster was asked, or should have been."""
    refusal: JobError | None = None
    """Why the cluster could not be asked, or did not answer."""
    job: RayJob | None = None
    """What the cluster answered; None if it does not know the job."""


def decide(
    record: RunStatus, evidence: Evidence, command: Callable[..., str], now: float | None = None
) -> RunStatus:
    """Return the status that holds, with its reason and what to do.

    Args:
        command: returns a command about the run, to paste, for a verb and further words.
        now: the Unix time; that of this machine's clock if it is left out.
    """
    now = time.time() if now is None else now
    if record.is_terminal:
        return record
    if evidence.process is Process.GONE:
        return _lost(record, f"its process (pid {record.pid}) is gone without a word", command)
    if record.is_on_cluster:
        return _on_cluster(record, evidence, command, now)
    who = f"its process (pid {record.pid} on {record.host})"
    if evidence.is_released:
        return _lost(record, f"{who} ended the job and could not write how", command)
    if evidence.process is Process.ELSEWHERE and evidence.has_lease is False:
        seen = _ago(evidence.seen_at, now)
        return _lost(record, f"{who} gave no sign of life since {seen}", command)
    return _living(record, evidence, now)


def no_answer_from(address: str, deadline_s: float) -> UnreachableError:
    """Return what keeps a cluster from being asked that is late."""
    return UnreachableError(
        f"the cluster at {address} did not answer within {deadline_s:g} s",
        "check the address and that the cluster runs",
    )


def _on_cluster(
    record: RunStatus, evidence: Evidence, command: Callable[..., str], now: float
) -> RunStatus:
    if evidence.has_lease:
        # The driver wrote this very moment: nothing that a cluster says or does not say is newer.
        return _with_orphan_note(record, evidence, now)
    if evidence.refusal:
        return _unreachable(record, evidence, evidence.refusal, command, now)
    if not evidence.is_asked:
        return record
    if evidence.job is None:
        if record.state == runs.QUEUED and now - _queued_at(record) <= _SUBMISSION_S:
            return record
        cause = f"the cluster at {record.address} does not know the job: its head was lost"
        return _lost(record, cause, command)
    if evidence.job.is_terminal:
        return _ended(record, evidence.job, command)
    return _living(record, evidence, now)


def _living(record: RunStatus, evidence: Evidence, now: float) -> RunStatus:
    """Return the status of a run that somebody runs, with what is to be said if it stands still."""
    if evidence.is_silent:
        who = f"its process (pid {record.pid} on {record.host}) gives no sign of life"
        reason = f"it stands still since {_ago(evidence.seen_at, now)}: {who}"
        return replace(record, reason=reason, stalled_since=evidence.seen_at)
    if record.stalled_since is not None:
        since = _ago(record.stalled_since, now)
        return replace(record, reason=f"it stands still since {since}, {record.stalled}")
    return record


def _with_orphan_note(record: RunStatus, evidence: Evidence, now: float) -> RunStatus:
    if evidence.job is None or not evidence.job.is_terminal:
        return _living(record, evidence, now)
    return replace(record, reason=f"{evidence.job.describe_end()}; its driver has not ended yet")


def _ended(record: RunStatus, job: RayJob, command: Callable[..., str]) -> RunStatus:
    """Return the state of a run whose job ended, by Ray's account, without an outcome."""
    how = job.describe_end()
    if job.status == "STOPPED":
        cure = f"go on from the last checkpoint: {command('resume')}"
        return _decided(record, runs.STOPPED, f"{how}: ended at once", cure, _STOPPED_EXIT)
    if job.was_refused:
        cure = f"see {command('why')} and {command('logs')}, then {command('resume')}"
        return _decided(record, runs.FAILED, how, cure, 1)
    return _lost(record, how, command)


def _lost(record: RunStatus, cause: str, command: Callable[..., str]) -> RunStatus:
    begin = "go on from the last checkpoint" if record.attempt else "start it"
    cure = f"{begin}: {command('resume')}, or remove it: {command('delete')}"
    return _decided(record, runs.LOST, cause, cure, 1)


def _unreachable(
    record: RunStatus,
    evidence: Evidence,
    refusal: JobError,
    command: Callable[..., str],
    now: float,
) -> RunStatus:
    seen = f", last sign of life {_ago(evidence.seen_at, now)}" if evidence.seen_at else ""
    cause = f"{' '.join(refusal.cause.split())}{seen}; its record says {record.state}"
    cure = refusal.cure
    if isinstance(refusal, UnreachableError):
        cure += f"; if the cluster is gone for good: {command('stop', '--force')}"
    return replace(record, state=runs.UNREACHABLE, reason=cause, cure=cure)


def _decided(record: RunStatus, state: str, reason: str, cure: str, exit_code: int) -> RunStatus:
    return replace(record, state=state, reason=reason, cure=cure, exit_code=exit_code)


def _ago(then: float | None, now: float) -> str:
    then = now if then is None else then
    clock = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(then))
    return f"{clock} UTC ({show_duration(max(0.0, now - then))} ago)"


def _queued_at(record: RunStatus) -> float:
    return record.queued_at or record.submitted_at or 0.0
