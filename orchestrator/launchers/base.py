"""The seam between a job and where it runs."""

from typing import Protocol

from workers.run_folder import RunFolder

STOPPED_BY_OTHERS = "stopped through Ray Jobs"
"""`why_it_ended` of a job that was ended on purpose, by `ray job stop` or `rnnjob stop --force`."""


class Launcher(Protocol):
    """Starts a job whose run folder is written, and knows whether it still runs.

    What the job says of itself (state, metrics, result) is read from the run folder, whatever the
    launcher; a graceful stop is asked for there, too: `RunFolder.ask_to_stop`.
    """

    mode: str
    """How the run's status names this way of running."""
    leaves_on_interrupt: bool
    """Ctrl-C leaves the job to itself, and only a second one stops it; else the first does."""

    def submit(self, run: RunFolder) -> None:
        """Starts the job and returns. Raises JobError where it cannot be started."""
        ...

    def is_alive(self, run: RunFolder) -> bool:
        """Whether something still runs that could change the run folder."""
        ...

    def why_it_ended(self, run: RunFolder) -> str:
        """What is known of a job that ended without an outcome, in one line; may be empty."""
        ...

    def kill(self, run: RunFolder) -> bool:
        """Ends the job at once, without a checkpoint; False where it does not end."""
        ...
