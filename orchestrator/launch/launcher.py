"""The seam between a job and where it runs."""

from typing import TYPE_CHECKING, Any, Protocol

from orchestrator import runs
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec


class Launcher(Protocol):
    """Starts a job whose run folder is written, and knows whether it still runs.

    What the job says of itself (state, metrics, result) is read from the run folder, whatever the
    launcher. A graceful stop is asked for in the run folder, too: `RunFolder.ask_to_stop`.
    """

    mode: str
    """The name of this way of running in a run's status."""
    address: str
    """The address of the cluster's dashboard; empty on this machine."""
    leaves_on_interrupt: bool
    """Whether the first Ctrl-C leaves the job running, so that only a second one stops it."""

    def check(self, run: RunFolder, spec: "JobSpec", job_id: str) -> dict[str, Any]:
        """Check that the job can be taken, before its run folder or anything else is written.

        Args:
            job_id: the id that Ray Jobs would have for the job.

        Returns what a dry run shows of this place. Raises JobError if the job is refused.
        """
        ...

    def submit(self, run: RunFolder) -> None:
        """Start the job and return. Raises JobError if it cannot be started."""
        ...

    def is_alive(self, run: RunFolder) -> bool:
        """Return whether something still runs that could change the run folder."""
        ...

    def why_it_ended(self, run: RunFolder) -> str:
        """Say in one line why a job ended without an outcome. Empty if nothing is known."""
        ...

    def kill(self, run: RunFolder) -> bool:
        """End the job at once, without a checkpoint. Returns False if it does not end."""
        ...


def launcher_here(mode: str, verbose: bool) -> Launcher:
    """Return the launcher for a mode of this machine. Each is imported only when chosen."""
    if mode == runs.LOCAL:
        from orchestrator.launch.local import LocalLauncher

        return LocalLauncher()
    from orchestrator.launch.ray_here import RayHereLauncher

    return RayHereLauncher(verbose)
