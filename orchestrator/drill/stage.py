"""The seam between a drill and where its run takes place."""

from typing import Protocol

from orchestrator.drill.faults import Strike
from orchestrator.drill.follower import Follower
from orchestrator.drill.plan import Fault
from orchestrator.runs import RunStatus
from workers.run_folder import RunFolder


class Stage(Protocol):
    """Runs one job, and can disturb it."""

    where: str
    """In words."""

    def start(self, run_id: str) -> RunFolder:
        """Starts the job and returns. Raises JobError."""
        ...

    def is_over(self) -> bool:
        """Whether the run has ended, well or not, and does not go on by itself."""
        ...

    def status(self) -> RunStatus:
        """Of a run that is over."""
        ...

    def strike(self, fault: Fault, follower: Follower) -> Strike:
        """Waits until a fault is due, and injects it."""
        ...

    def mend(self, fault: Fault) -> None:
        """What a run cannot do by itself after a fault that hit: a node joins, somebody resumes
        it. Raises JobError."""
        ...

    def close(self) -> None:
        """Ends what still runs."""
        ...
