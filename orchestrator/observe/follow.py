"""Follow a job to its end, wherever it runs. The run folder tells what happens, the launcher only
whether anything still runs."""

import contextlib
import time
from typing import Protocol

from orchestrator import runs
from orchestrator.launch.launcher import Launcher
from orchestrator.observe.endings import record_death, record_kill
from orchestrator.observe.evidence import evidence_here
from orchestrator.runs import RunStatus
from workers.errors import GoneError, NoSuchRunError, TakenOverError
from workers.records.owners import read_owner, taken_over
from workers.records.run_folder import MetricsTail, RunFolder, StopRequest
from workers.storage.typed_json import Json

_SECOND_PRESS_S = 3.0


class Terminated(BaseException):
    """SIGTERM as an exception. It is no Exception, so that nothing takes it for a failure."""


class Left(Exception):  # noqa: N818  # not an error: the job goes on without its follower
    """The follower was interrupted, the job was not."""


class View(Protocol):
    """What shows a followed job to a person."""

    def update(self, status: RunStatus, records: list[Json]) -> None: ...

    def note(self, text: str) -> None: ...


def follow(run: RunFolder, launcher: Launcher, view: View) -> RunStatus:
    """Follow the job that runs now and return its terminal status.

    The first Ctrl-C or SIGTERM asks the job to stop with a checkpoint, the second ends it at once.
    If the launcher leaves on an interrupt, the first raises Left instead, unless a second one
    within three seconds asks for the stop.

    Raises TakenOverError once the run belongs to another job, GoneError once it was deleted.
    """
    run = run.with_retries()  # a job in this process would end with it
    tail = MetricsTail(run)
    job_id = runs.read_status(run).job_id or run.run_id
    interrupts: list[BaseException] = []
    has_asked_to_stop = False
    while True:
        try:
            # Here and not below: another interrupt meanwhile must count as the second one.
            if interrupts and not has_asked_to_stop:
                if launcher.leaves_on_interrupt:
                    _leave_unless_pressed_again(view)
                run.ask_to_stop(_request_for(interrupts[0]))
                has_asked_to_stop = True
                view.note("stopping after this step, with a checkpoint; once more ends it at once")
            # Ask before reading: what a job wrote before it ended must not be missed.
            is_alive = launcher.is_alive(run)
            try:
                status = _status_of(run, job_id)
            except (TakenOverError, GoneError):
                if not is_alive or launcher.leaves_on_interrupt:
                    raise
                time.sleep(run.poll_s)  # the job sees it, too, and ends by itself
                continue
            view.update(status, tail.read())
            if status.has_outcome and (not is_alive or launcher.leaves_on_interrupt):
                return status
            if not is_alive and not _goes_on_without_its_supervisor(run, launcher, status):
                return record_death(run, launcher, status)
            time.sleep(run.poll_s)
        except (KeyboardInterrupt, Terminated) as interrupt:
            interrupts.append(interrupt)
            if len(interrupts) > 1:
                with contextlib.suppress(KeyboardInterrupt, Terminated):
                    launcher.kill(run)
                return record_kill(run, _request_for(interrupt))


def _status_of(run: RunFolder, job_id: str) -> RunStatus:
    """Return the status of a run that is still of this job. Raises TakenOverError, GoneError."""
    owner = read_owner(run)
    if owner and owner.job_id not in ("", job_id):
        raise taken_over(run, owner)
    try:
        return runs.read_status(run)
    except NoSuchRunError:
        if run.storage.exists(run.STATUS):
            raise
        raise run.storage.gone() from None


def _goes_on_without_its_supervisor(run: RunFolder, launcher: Launcher, status: RunStatus) -> bool:
    """Whether the driver of a job that Ray Jobs counts as ended still runs, and may write its
    outcome yet."""
    return bool(launcher.address) and evidence_here(run, status).has_lease is True


def _request_for(interrupt: BaseException) -> StopRequest:
    if isinstance(interrupt, Terminated):
        return StopRequest("terminated by SIGTERM", 5)
    return StopRequest("interrupted by Ctrl-C", 130)


def _leave_unless_pressed_again(view: View) -> None:
    try:
        view.note("leaving; the job goes on. Press Ctrl-C again within 3 s to stop it instead")
        time.sleep(_SECOND_PRESS_S)
    except (KeyboardInterrupt, Terminated):
        return
    raise Left
