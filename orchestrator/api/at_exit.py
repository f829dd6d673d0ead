"""Let a run that this process keeps going end before the process does."""

import concurrent.futures.thread  # noqa: F401  # so that it has registered what closes its pools
import contextlib
import sys
import threading

from orchestrator.display.console import PrintableConsole
from orchestrator.observe.attendant import Attendant
from workers.errors import JobError
from workers.records.run_folder import RunFolder, StopRequest

_SESSION_ENDED = StopRequest("the session of Python that trained it ended")
_INTERRUPTED = StopRequest("interrupted by Ctrl-C", 130)
_attended: list[tuple[RunFolder, Attendant]] = []


def finish_at_exit(run: RunFolder, attendant: Attendant) -> None:
    """At the end of a script, wait until the run has ended. Ctrl-C stops it with a checkpoint.

    Whoever leaves an interactive session does not want to wait for an hour of training: the run is
    stopped, also with a checkpoint.
    """
    if not _attended:
        # A function of `atexit` is called too late: the pools of threads that train are closed by
        # then. What `concurrent.futures` closes them with is called after what is registered later.
        threading._register_atexit(_finish)  # type: ignore[attr-defined]
    _attended[:] = [(other, at_work) for other, at_work in _attended if at_work.is_at_work]
    _attended.append((run, attendant))


def _finish() -> None:
    for run, attendant in _attended:
        if attendant.is_at_work:
            _end(run, attendant)


def _end(run: RunFolder, attendant: Attendant) -> None:
    try:
        if hasattr(sys, "ps1"):  # also in a notebook
            _say(f"stopping {run.run_id} with a checkpoint: Run.resume goes on from there")
            _ask_to_stop(run, _SESSION_ENDED)
        else:
            _say(f"waiting for the end of {run.run_id}; Ctrl-C stops it with a checkpoint")
        attendant.join()
    except KeyboardInterrupt:
        try:
            _ask_to_stop(run, _INTERRUPTED)
            attendant.join()
        except KeyboardInterrupt:
            attendant.end_at_once(_INTERRUPTED)


def _ask_to_stop(run: RunFolder, request: StopRequest) -> None:
    with contextlib.suppress(JobError):  # a storage that fails does not keep the process
        run.ask_to_stop(request)


def _say(text: str) -> None:
    PrintableConsole(stderr=True).print(text)
