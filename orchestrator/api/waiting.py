"""Wait for a run and show its progress, in a notebook or on stderr."""

from collections.abc import Callable

from orchestrator import runs
from orchestrator.api.start import Started
from orchestrator.display.notebook import NotebookView, notebook_output
from orchestrator.display.terminal import JobView
from orchestrator.observe.attendant import Attendant
from orchestrator.observe.wait import wait_for_end
from orchestrator.runs import RunStatus
from orchestrator.spec.plan import num_steps, read_spec
from workers.config import DataShape
from workers.errors import JobError, JobStoppedError
from workers.records.run_folder import RunFolder, StopRequest

_INTERRUPTED = StopRequest("interrupted by Ctrl-C", 130)


def wait_here(
    run: RunFolder, started: Started, attendant: Attendant, timeout_s: float | None, progress: bool
) -> None:
    """Wait for a run that this process keeps going. An interrupt stops it with a checkpoint.

    Raises KeyboardInterrupt once it has stopped, WaitTimeoutError, or StorageError if nobody could
    record how it ended.
    """

    def look() -> RunStatus:
        if attendant.failure:
            raise attendant.failure
        return runs.read_status(run)

    with _view(run, started, progress) as view:
        try:
            wait_for_end(run, look, view, timeout_s)
            attendant.join()
        except KeyboardInterrupt:
            try:
                run.ask_to_stop(_INTERRUPTED)
                more = "; once more ends it at once" if attendant.can_end_at_once else ""
                view.note(f"stopping after this step, with a checkpoint{more}")
                wait_for_end(run, look, view)
                attendant.join()
            except KeyboardInterrupt:
                attendant.end_at_once(_INTERRUPTED)
                raise
            raise


def wait_there(
    run: RunFolder,
    look: Callable[[], RunStatus],
    started: Started | None,
    timeout_s: float | None,
    progress: bool,
) -> None:
    """Wait for a run that goes on without this process. Raises WaitTimeoutError."""
    with _view(run, started, progress) as view:
        wait_for_end(run, look, view, timeout_s)


def failure_of(status: RunStatus) -> JobError:
    """Return the error that says why a run did not succeed."""
    cause = f"{status.run_id} {status.state}" + (f": {status.reason}" if status.reason else "")
    if status.state == runs.STOPPED:
        return JobStoppedError(cause, status.cure, status.exit_code or 5)
    error = JobError(cause, status.cure)
    error.exit_code = status.exit_code or 1
    return error


def _view(run: RunFolder, started: Started | None, progress: bool) -> NotebookView | JobView:
    """Return a view for a run. What is to be said about the job is said in the first one."""
    total = started.num_steps if started else _num_steps(run)
    every = _print_every(run)
    show = notebook_output() if progress else None
    view = NotebookView(show, total, every) if show else JobView(total, every, quiet=not progress)
    for note in started.notes if started else []:
        view.note(note)
    if started:
        started.notes.clear()
        view.begin_after(started.reached)
    return view


def _num_steps(run: RunFolder) -> int | None:
    """Return the steps of the whole run; None while they are not known."""
    try:
        shape = DataShape.model_validate(run.read_json(run.DATA) or {})
        return num_steps(read_spec(run), shape)
    except (JobError, ValueError):
        return None


def _print_every(run: RunFolder) -> int:
    try:
        return read_spec(run).log.print_every_steps
    except JobError:
        return 0
