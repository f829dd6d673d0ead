"""Looks at one run again and again: its record first, then the cluster that it runs on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from orchestrator import runs
from orchestrator.follow import died
from orchestrator.runs import RunStatus
from workers.errors import ClusterError, InputError, JobError
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.cluster.jobs import RayJob
    from orchestrator.launchers.ray_jobs import RayJobsLauncher

_POLL_S = 1.0
_LAG_S = 4.0
"""How much later than its record Ray Jobs may learn that a driver is gone."""
_SUBMISSION_S = 600.0
"""How long a submission may take: a job that the cluster does not know yet is not lost."""


def is_on_a_cluster(status: RunStatus) -> bool:
    """One that was resumed on this machine still names the cluster that it began on."""
    return status.mode == "cluster" and bool(status.address)


class Observer:
    """Never fails because of the cluster: what cannot be asked is taken from the record."""

    def __init__(self, run: RunFolder, connect: "Callable[[str], RayJobsLauncher]") -> None:
        """`connect`: the way to the cluster of an address; may raise InputError."""
        self.run = run
        self._connect = connect
        self._launcher: RayJobsLauncher | None = None
        self._asked = -_POLL_S
        self.job: RayJob | None = None
        """What Ray Jobs said last."""
        self.refusal: JobError | None = None
        """Why the cluster could not be asked."""

    def status(self) -> RunStatus:
        """The run's status; written there, too, where its driver died without a word."""
        status = runs.read_status(self.run)
        if status.has_outcome or not is_on_a_cluster(status):
            return status
        if time.monotonic() - self._asked >= _POLL_S:
            self.ask(status.address)
        if status.is_terminal:  # its process is gone: the cluster may not know it yet
            self._let_the_cluster_know(status.address)
        if self._launcher is None or self.refusal or not self._is_over(status):
            return status
        return died(self.run, self._launcher, status)

    def ask(self, address: str) -> None:
        """Brings `job` and `refusal` up to date."""
        self._asked = time.monotonic()
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

    def _let_the_cluster_know(self, address: str) -> None:
        end = time.monotonic() + _LAG_S
        while not self.refusal and self.job and not self.job.is_terminal:
            if time.monotonic() > end:
                return
            time.sleep(_POLL_S / 4)
            self.ask(address)
