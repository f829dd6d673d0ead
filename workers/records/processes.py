"""Tell a process of this machine from a later one that got its id."""

import os

_SAME_START_S = 1.0
"""Two start times of one process id this close together belong to the same process."""


def start_of(pid: int | None = None) -> float | None:
    """Return when a process started, by default this one; None if there is none."""
    import psutil

    try:
        started: float = psutil.Process(os.getpid() if pid is None else pid).create_time()
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # the last two: no valid process id
        return None
    return started


def lives(pid: int, started: float | None) -> bool:
    """Whether a process runs. Its start time tells it from a later one with the same id."""
    import psutil

    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - (started or 0.0)) <= _SAME_START_S
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):
        return False
