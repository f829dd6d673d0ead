"""Tell a process of this machine from a later one that got its id."""

import os
import sys
from functools import cache
from pathlib import Path

_SAME_UNIX_TIME_S, _SAME_TIME_OF_BOOT_S = 1.0, 0.05
"""Two start times of one process id this close together belong to the same process."""
_BOOT_S = 1e8
_NUM_BOOTS = 2**16


def start_of(pid: int | None = None) -> float | None:
    """Return what tells a process, by default this one, from others that had or will have its id.

    It is negative on Linux: the seconds since the machine started, on a scale that begins elsewhere
    for each boot. A Unix time would be another one once somebody, or a time server, sets the clock,
    since Linux computes it from the present clock. Elsewhere it is the Unix time at which the
    process started. None if there is no such process.
    """
    pid = os.getpid() if pid is None else pid
    return _time_of_boot(pid) if sys.platform == "linux" else _unix_time(pid)


def lives(pid: int, started: float | None) -> bool:
    """Whether a process runs that started then. Earlier versions wrote Unix times on Linux, too.

    A start that is not known, None or 0, is that of no process: whoever is found may be killed.
    """
    import psutil

    if not started:
        return False
    found = _time_of_boot(pid) if started < 0 else _unix_time(pid)
    same_s = _SAME_TIME_OF_BOOT_S if started < 0 else _SAME_UNIX_TIME_S
    try:
        same = found is not None and abs(found - started) <= same_s
        return same and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _time_of_boot(pid: int) -> float | None:
    try:
        content = Path(f"/proc/{pid:d}/stat").read_bytes()
    except (OSError, ValueError):
        return None
    # The second field is the program's name in brackets, which may hold spaces and brackets.
    after_name = content.rpartition(b")")[2].split()
    return -(_begin_of_boot() + int(after_name[19]) / os.sysconf("SC_CLK_TCK"))


@cache
def _begin_of_boot() -> float:
    """Return where the scale of this boot begins, so that no process of another is on it."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", "")
    return (1 + int(boot_id, 16) % _NUM_BOOTS) * _BOOT_S


def _unix_time(pid: int) -> float | None:
    import psutil

    try:
        started: float = psutil.Process(pid).create_time()
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # the last two: no valid process id
        return None
    return started
