"""The interface between a drill and the place where its run takes place."""

from typing import Protocol

from orchestrator.drill.fault_schedule import Fault
from orchestrator.drill.faults import Injection
from orchestrator.drill.follower import Follower
from orchestrator.runs import RunStatus
from workers.records.run_folder import RunFolder


class Stage(Protocol):
    """Runs one job, and can inject faults into it."""

    where: str
    """A description of the place, for people."""

    def start(self, run_id: str) -> RunFolder:
        """Start the job and return without waiting for its end. Raises JobError."""
        ...

    def is_over(self) -> bool:
        """Whether the run has ended, successfully or not, and does not continue by itself."""
        ...

    def status(self) -> RunStatus:
        """Return the status of a run that is over."""
        ...

    def inject(self, fault: Fault, follower: Follower) -> Injection:
        """Wait until a fault is due, and inject it."""
        ...

    def recover(self, fault: Fault) -> None:
        """After a fault that hit, do what the run cannot do by itself: add a node, or resume it.

        Raises JobError.
        """
        ...

    def close(self) -> None:
        """End the run if it is not over."""
        ...
