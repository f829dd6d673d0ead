"""Follows a job to its end, whoever runs it: the run folder tells, the launcher only whether
anything still runs."""

import contextlib
import time
from dataclasses import replace
from typing import Protocol

from orchestrator import runs
from orchestrator.launchers.base import STOPPED_BY_OTHERS, Launcher
from orchestrator.outcome import write_outcome
from orchestrator.runs import RunStatus
from workers.jsons import Json
from workers.run_folder import MetricsTail, RunFolder, StopRequest

_SECOND_PRESS_S = 3.0


class Terminated(BaseException):
    """SIGTERM, as an exception: not an Exception, so that nothing takes it for a failure."""


class Left(Exception):  # noqa: N818  # no error: the job goes on without its follower
    """The follower was interrupted, the job was not."""


class View(Protocol):
    """Who shows a followed job."""

    def update(self, status: RunStatus, records: list[Json]) -> None: ...

    def note(self, text: str) -> None: ...


def follow(run: RunFolder, launcher: Launcher, view: View) -> RunStatus:
    """Returns the terminal status.

    The first Ctrl-C or SIGTERM asks the job to stop with a checkpoint, the second ends it at once.
    Where the launcher leaves on an interrupt, the first raises Left instead, unless a second one
    within three seconds asks for the stop.
    """
    run = run.patient()  # where the job lives in this process, it would end with it
    tail = MetricsTail(run)
    num_interrupts = 0
    while True:
        try:
            # Asked before reading: what a job wrote before it ended must not be missed.
            alive = launcher.is_alive(run)
            status = runs.read_status(run)
            view.update(status, tail.read())
            if status.has_outcome and (not alive or launcher.leaves_on_interrupt):
                return status
            if not alive:
                return died(run, launcher, status)
            time.sleep(run.poll_s)
        except (KeyboardInterrupt, Terminated) as interrupt:
            num_interrupts += 1
            request = _request_for(interrupt)
            if num_interrupts > 1:
                return _killed(run, launcher, request)
            if launcher.leaves_on_interrupt:
                _leave_unless_pressed_again(view)
            run.ask_to_stop(request)
            view.note("stopping after this step, with a checkpoint; once more ends it at once")


def _request_for(interrupt: BaseException) -> StopRequest:
    if isinstance(interrupt, Terminated):
        return StopRequest("terminated by SIGTERM", 5)
    return StopRequest("interrupted by Ctrl-C", 130)


def _leave_unless_pressed_again(view: View) -> None:
    view.note("leaving; the job goes on. Press Ctrl-C again within 3 s to stop it instead")
    try:
        time.sleep(_SECOND_PRESS_S)
    except (KeyboardInterrupt, Terminated):
        return
    raise Left


def died(run: RunFolder, launcher: Launcher, status: RunStatus) -> RunStatus:
    """Records that the job's process is gone and left no outcome.

    `status`: as it was when the launcher was asked. It may have written its outcome since, or been
    resumed as another job, which lives.
    """
    asked_about, status = status.job_id, runs.read_status(run)
    if status.has_outcome or status.job_id != asked_about:
        return status
    why = launcher.why_it_ended(run)
    on_purpose = why == STOPPED_BY_OTHERS
    reason = "the driver died without a word" + (f"; {why}" if why else "")
    request = run.stop_request()
    ended = replace(
        status,
        state=runs.STOPPED if on_purpose else runs.FAILED,
        exit_code=5 if on_purpose else 1,
        ended_at=time.time(),
        reason=f"{request.reason if request else why}: ended at once" if on_purpose else reason,
        cure=f"see {runs.next_command(run, 'logs')}, or go on: {runs.next_command(run, 'resume')}",
    )
    return write_outcome(run, None, None, ended, status.submitted_at or time.time())


def given_up(run: RunFolder, why: str) -> RunStatus:
    """Records that somebody no longer counts on a job whose cluster does not answer. Should it
    still run there, it leaves as soon as it sees that. One that has ended meanwhile stays so."""
    status = runs.read_status(run)
    if status.has_outcome:
        return status
    ended = replace(
        status,
        state=runs.STOPPED,
        exit_code=5,
        ended_at=time.time(),
        reason=f"given up: {why}",
        cure=f"go on elsewhere: {runs.next_command(run, 'resume', '--address', 'URL')}",
    )
    return write_outcome(run, None, None, ended, status.submitted_at or time.time())


def _killed(run: RunFolder, launcher: Launcher, request: StopRequest) -> RunStatus:
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        launcher.kill(run)
    status = runs.read_status(run)
    if status.has_outcome:
        return status  # it ended by itself in the meantime
    stopped = replace(
        status,
        state=runs.STOPPED,
        exit_code=request.exit_code,
        reason=f"{request.reason}, twice: ended at once",
        cure=f"go on from its last checkpoint: {runs.next_command(run, 'resume')}",
        ended_at=time.time(),
    )
    return write_outcome(run, None, None, stopped, status.submitted_at or time.time())
