"""Kill the parents of a job's processes, and measure how long their children outlive them.

    python -m benchmarks.orphans

A child ends, with a checkpoint if it is a driver, or another process starts it again. The exit code
is 1 if one of them takes longer than ten seconds. Run it on a machine that does nothing else.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.matrix.on_cluster import on_cluster, supervisor_of
from benchmarks.matrix.on_ray import killed_with_driver
from benchmarks.matrix.place import LONG, Place, below_of, driver_of, kill, running, wait_for
from orchestrator.cluster import local_processes

_LIMIT_S = 10.0
_WORKERS = ("--workers", "2")


def _are_gone(processes: set[psutil.Process]) -> Callable[[], bool]:
    return lambda: not any(map(local_processes.is_alive, processes))


@contextmanager
def client(place: Place) -> Iterator[Callable[[], bool]]:
    with running(place, *_WORKERS, *LONG) as process:
        below = below_of(process.pid)
        kill(process)
        yield _are_gone(below)


@contextmanager
def client_and_driver(place: Place) -> Iterator[Callable[[], bool]]:
    with running(place, *_WORKERS, *LONG) as process:
        below = below_of(process.pid)
        with killed_with_driver(place, process):
            yield _are_gone(below)


@contextmanager
def driver(place: Place) -> Iterator[Callable[[], bool]]:
    """The client ends what was below the driver, and starts another driver."""
    with running(place, *_WORKERS, *LONG) as process:
        below = below_of(process.pid)
        driver_of(place).kill()
        yield lambda: _are_gone(below)() and bool(below_of(process.pid))


@contextmanager
def supervisor(place: Place) -> Iterator[Callable[[], bool]]:
    with on_cluster(place, *_WORKERS, *LONG):
        child = driver_of(place)
        supervisor_of(child).kill()
        yield _are_gone({child})


CASES = {
    "Ray here: the client killed": client,
    "Ray here: client and driver killed": client_and_driver,
    "Ray here: the driver killed": driver,
    "cluster: the supervisor killed": supervisor,
}


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is to end, too
    slowest = 0.0
    with tempfile.TemporaryDirectory(prefix="ro") as scratch:
        for number, (text, kill_parent) in enumerate(CASES.items()):
            place = Place(Path(scratch) / str(number))
            place.folder.mkdir()
            with kill_parent(place) as is_over:
                begun, load = time.monotonic(), os.getloadavg()[0]
                with contextlib.suppress(TimeoutError):  # so long it took, at least
                    wait_for(is_over)
                took_s = time.monotonic() - begun
            print(f"{text}: {took_s:.1f} s, at a load of {load:.0f}", flush=True)
            slowest = max(slowest, took_s)
    return 0 if slowest <= _LIMIT_S else 1


if __name__ == "__main__":
    sys.exit(main())
