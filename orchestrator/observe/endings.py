"""Write the outcome of a run that ended without writing one itself."""

import time
from dataclasses import replace

from orchestrator import runs
from orchestrator.cluster.ray_jobs_api import STOPPED_BY_OTHERS
from orchestrator.launch.launcher import Launcher
from orchestrator.runs import RunStatus
from orchestrator.runs.outcome import write_outcome
from workers.records.owners import read_owner
from workers.records.ownership import revoke
from workers.records.run_folder import RunFolder, StopRequest

_STOPPED_EXIT = 5


def record_death(run: RunFolder, launcher: Launcher, status: RunStatus) -> RunStatus:
    """Record that the job's process is gone and left no outcome.

    `status`: the status when the launcher was asked. The run may have written its outcome since, or
    been resumed as another job that lives; then its present status is returned.
    """
    asked_about, status = status.job_id, runs.read_status(run)
    owner = read_owner(run)
    is_anothers = owner is not None and owner.job_id not in ("", asked_about or run.run_id)
    if status.has_outcome or status.job_id != asked_about or is_anothers:
        return status
    why = launcher.why_it_ended(run)
    cure = f"see {runs.next_command(run, 'logs')}, or go on: {runs.next_command(run, 'resume')}"
    if why == STOPPED_BY_OTHERS:
        request = run.stop_request()
        reason = f"{request.reason if request else why}: ended at once"
        return _write(run, status, runs.STOPPED, _STOPPED_EXIT, reason, cure)
    reason = "the driver died without a word" + (f"; {why}" if why else "")
    return _write(run, status, runs.FAILED, 1, reason, cure)


def record_given_up(run: RunFolder, why: str) -> RunStatus:
    """Record that somebody no longer counts on a job whose cluster does not answer.

    A job that still runs there leaves as soon as it sees this. One that has ended stays as it is.
    """
    status = runs.read_status(run)
    if status.has_outcome:
        return status
    revoke(run)
    cure = f"go on elsewhere: {runs.next_command(run, 'resume', '--address', 'URL')}"
    return _write(run, status, runs.STOPPED, _STOPPED_EXIT, f"given up: {why}", cure)


def record_kill(run: RunFolder, request: StopRequest) -> RunStatus:
    """Record that a second interrupt ended the job at once, unless it ended by itself before."""
    status = runs.read_status(run)
    if status.has_outcome:
        return status
    revoke(run)  # a thread that cannot be ended writes nothing more
    reason = f"{request.reason}, twice: ended at once"
    cure = f"go on from its last checkpoint: {runs.next_command(run, 'resume')}"
    return _write(run, status, runs.STOPPED, request.exit_code, reason, cure)


def _write(
    run: RunFolder, status: RunStatus, state: str, exit_code: int, reason: str, cure: str
) -> RunStatus:
    ended = replace(
        status, state=state, exit_code=exit_code, ended_at=time.time(), reason=reason, cure=cure
    )
    return write_outcome(run, None, None, ended, status.submitted_at or time.time())
