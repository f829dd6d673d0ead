"""Wait for the end of a run that somebody else keeps going."""

import time
from collections.abc import Callable

from orchestrator.observe.follow import View
from orchestrator.runs import RunStatus, next_command
from orchestrator.units import show_duration
from workers.errors import WaitTimeoutError
from workers.records.run_folder import MetricsTail, RunFolder

_POLL_S = 0.5


def wait_for_end(
    run: RunFolder,
    look: Callable[[], RunStatus],
    view: View | None = None,
    timeout_s: float | None = None,
) -> RunStatus:
    """Return the status of a run once it is terminal. An interrupt ends only the wait.

    Args:
        look: returns the status of the run.
        view: is shown what the run records meanwhile.

    Raises WaitTimeoutError.
    """
    end = None if timeout_s is None else time.monotonic() + timeout_s
    tail = MetricsTail(run)
    while True:
        status = look()
        if view:
            view.update(status, tail.read())
        if status.is_terminal:
            return status
        if end is not None and time.monotonic() > end:
            raise WaitTimeoutError(
                f"{status.run_id} is still {status.state} after "
                f"{show_duration(timeout_s or 0.0)}; the wait ended, the job goes on",
                f"{next_command(run, 'why')}, or wait again",
            )
        time.sleep(max(_POLL_S, run.poll_s))
