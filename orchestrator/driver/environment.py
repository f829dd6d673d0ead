"""What a driver is told by the process that starts it, through environment variables.

Imports nothing but the standard library: the supervisor uses it and must start before all else.
"""

import os
from dataclasses import dataclass

CODE_DIR = "RNNJOB_CODE_DIR"
"""The folder with the client's code on a cluster whose nodes do not have it. Not set elsewhere."""
RAY_DIR = "RNNJOB_RAY_DIR"
"""The folder in which a driver's own Ray keeps its files. Not set for a driver on a cluster."""
SUBMIT_DIR = "RNNJOB_SUBMIT_DIR"
"""The folder in which the job was submitted. The driver's own working directory is another one."""
_PREVIOUS_DEATH = "RNNJOB_DRIVER_DIED"
_PARENT_PID = "RNNJOB_PARENT_PID"


@dataclass(frozen=True)
class DriverEnvironment:
    """What this process, a driver, was told."""

    ray_dir: str | None
    """The folder of the driver's own Ray; None on a cluster."""
    code_dir: str | None
    """The folder with the code that the workers need; None if they have it."""
    previous_death: str
    """What ended the driver before this one; empty for the first."""
    parent_pid: int
    """The process that starts this driver again if it is killed. It may be gone by now."""

    @classmethod
    def read(cls) -> "DriverEnvironment":
        return cls(
            ray_dir=os.environ.get(RAY_DIR),
            code_dir=os.environ.get(CODE_DIR),
            previous_death=os.environ.get(_PREVIOUS_DEATH, ""),
            parent_pid=int(os.environ.get(_PARENT_PID) or 0),
        )


def told_by_parent(previous_death: str) -> dict[str, str]:
    """Return the variables that a parent which will restart its driver sets for it.

    `previous_death`: what ended the driver before this one; empty for the first.
    """
    return {_PREVIOUS_DEATH: previous_death, _PARENT_PID: str(os.getpid())}
