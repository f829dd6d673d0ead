"""Follows a job to its end, whoever runs it: the run folder tells, the launcher only whether
anything still runs."""

import contextlib
import time
from dataclasses import replace
from typing import Protocol

from orchestrator import runs
from orchestrator.launchers.base import Launcher
from orchestrator.runs import RunStatus
from workers.jsons import Json
from workers.run_folder import MetricsTail, RunFolder, StopRequest

_POLL_S = 0.1


class Terminated(BaseException):
    """SIGTERM, as an exception: not an Exception, so that nothing takes it for a failure."""


class View(Protocol):
    """Who shows a followed job."""

    def update(self, status: RunStatus, records: list[Json]) -> None: ...

    def note(self, text: str) -> None: ...


def follow(run: RunFolder, launcher: Launcher, view: View) -> RunStatus:
    """Returns the terminal status.

    The first Ctrl-C or SIGTERM asks the job to stop with a checkpoint, the second ends it at once.
    """
    tail = MetricsTail(run)
    asked = False
    while True:
        try:
            # Asked before reading: what a job wrote before it ended must not be missed.
            alive = launcher.is_alive(run)
            status = runs.read_status(run)
            view.update(status, tail.read())
            if not alive:
                return status if status.is_terminal else _died(run, launcher, status)
            time.sleep(_POLL_S)
        except (KeyboardInterrupt, Terminated) as interrupt:
            request = (
                StopRequest("interrupted by Ctrl-C", 130)
                if isinstance(interrupt, KeyboardInterrupt)
                else StopRequest("terminated by SIGTERM", 5)
            )
            if asked:
                return _killed(run, launcher, request)
            asked = True
            run.ask_to_stop(request)
            view.note("stopping after this step, with a checkpoint; once more ends it at once")


def _died(run: RunFolder, launcher: Launcher, status: RunStatus) -> RunStatus:
    """The job's process is gone and left no outcome."""
    last = next((line for line in reversed(launcher.logs(run, 50)) if line.strip()), "")
    died = replace(
        status,
        state=runs.FAILED,
        exit_code=1,
        ended_at=time.time(),
        reason=f"the driver died without a word; it last printed: {last}"
        if last
        else "the driver died without a word",
        cure=f"see {run.storage.where(run.LOGS)}",
    )
    return runs.write_status(run, died)


def _killed(run: RunFolder, launcher: Launcher, request: StopRequest) -> RunStatus:
    with contextlib.suppress(KeyboardInterrupt, Terminated):
        launcher.kill(run)
    status = runs.read_status(run)
    if status.is_terminal and status.pid is not None and status.state != runs.FAILED:
        return status  # it ended by itself in the meantime
    status = replace(
        status,
        state=runs.STOPPED,
        exit_code=request.exit_code,
        reason=f"{request.reason}, twice: ended at once",
        ended_at=time.time(),
    )
    return runs.write_status(run, status)
