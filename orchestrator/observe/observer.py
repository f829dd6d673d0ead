"""Look at one run again and again: its record first, then the cluster that it runs on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator import runs
from orchestrator.observe.endings import record_death
from orchestrator.runs import RunStatus
from workers.errors import ClusterError, InputError, JobError
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.cluster.ray_jobs_api import RayJob
    from orchestrator.launch.ray_jobs import RayJobsLauncher

_POLL_S = 1.0
_CLUSTER_LAG_S = 4.0
"""How much later than the run's record Ray Jobs may learn that a driver is gone."""
_SUBMISSION_S = 600.0
"""How long a submission may take. A job that the cluster does not know yet is not lost."""


class Observer:
    """Never fails because of the cluster: what cannot be asked is taken from the run's record."""

    def __init__(self, run: RunFolder, connect: "Callable[[str], RayJobsLauncher]") -> None:
        """`connect`: returns the way to the cluster of an address; may raise InputError."""
        self.run = run
        self._connect = connect
        self._launcher: RayJobsLauncher | None = None
        self._asked_at = -_POLL_S
        self.job: RayJob | None = None
        """What Ray Jobs said last."""
        self.refusal: JobError | None = None
        """Why the cluster could not be asked."""

    def status(self) -> RunStatus:
        """Return the run's status. If its driver died without an outcome, one is written."""
        status = runs.read_status(self.run)
        if status.has_outcome or not status.is_on_cluster:
            return status
        if time.monotonic() - self._asked_at >= _POLL_S:
            self.ask(status.address)
        if status.is_terminal:  # its process is gone, and the cluster may not know it yet
            self._wait_until_cluster_knows(status.address)
        if self._launcher is None or self.refusal or not self._is_over(status):
            return status
        return record_death(self.run, self._launcher, status)

    def ask(self, address: str) -> None:
        """Ask the cluster at an address, and update `job` and `refusal`."""
        self._asked_at = time.monotonic()
        try:
            self._launcher = self._launcher or self._connect(address)
            self.job, self.refusal = self._launcher.job(self.run), None
        except (ClusterError, InputError) as error:
            self.refusal = error

    def _is_over(self, status: RunStatus) -> bool:
        if self.job is not None:
            return self.job.is_terminal
        age_s = time.time() - (status.queued_at or status.submitted_at or 0.0)
        return status.state != runs.QUEUED or age_s > _SUBMISSION_S

    def _wait_until_cluster_knows(self, address: str) -> None:
        end = time.monotonic() + _CLUSTER_LAG_S
        while not self.refusal and self.job and not self.job.is_terminal:
            if time.monotonic() > end:
                return
            time.sleep(_POLL_S / 4)
            self.ask(address)
