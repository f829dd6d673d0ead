"""Hands a run to its launcher; of one that cannot be started nothing is left."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.launchers.base import Launcher
from orchestrator.launchers.request import JobRequest
from orchestrator.submission import Submission
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.launchers.ray_jobs import RayJobsLauncher


def start(run: RunFolder, launcher: Launcher, submission: Submission) -> None:
    """Raises what the launcher raises; then nothing was started, and nothing is left of it."""
    try:
        launcher.submit(run)
    except BaseException:
        if not launcher.leaves_on_interrupt:
            launcher.kill(run)
        submission.undo(run)
        raise


@dataclass(frozen=True)
class ClusterJob:
    """A job that was checked for a cluster, before anything is written or sent."""

    submission: Submission
    request: JobRequest
    """What is sent."""
    launcher: "RayJobsLauncher"

    def start(self) -> RunFolder:
        """Writes the run folder and hands the job to the cluster. Raises JobError."""
        run = self.submission.create_run()
        start(run, self.launcher, self.submission)
        return run
