"""Disasters of a job on a Ray of its own on this machine."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.matrix.place import LONG, MEDIUM, Place, below_of, driver_of, kill, running, titled
from orchestrator.driver import private_ray
from orchestrator.driver.environment import RAY_DIR

_STANDS_STILL_AFTER_S = 30.0


def _first(process: "subprocess.Popen[str]", title: str) -> psutil.Process:
    return titled(below_of(process.pid), title)[0]


@contextmanager
def worker_suspended(place: Place) -> Iterator[Place]:
    with running(place, "--workers", "2", *LONG) as process:
        worker = _first(process, "RayTrainWorker")
        worker.suspend()
        try:
            time.sleep(_STANDS_STILL_AFTER_S)
            yield place
        finally:
            with contextlib.suppress(psutil.Error):
                worker.resume()


@contextmanager
def worker_killed(place: Place) -> Iterator[Place]:
    with running(place, "--workers", "2", *LONG) as process:
        _first(process, "RayTrainWorker").kill()
        place.wait_for_attempt(2)
        yield place


@contextmanager
def controller_killed(place: Place) -> Iterator[Place]:
    with running(place, "--workers", "2", *LONG) as process:
        _first(process, "TrainController").kill()
        place.wait_for_attempt(2)
        yield place


@contextmanager
def driver_killed(place: Place) -> Iterator[Place]:
    with running(place, "--workers", "2", *LONG):
        driver_of(place).kill()
        place.wait_for_attempt(2)
        yield place


@contextmanager
def client_killed(place: Place) -> Iterator[Place]:
    with running(place, "--workers", "2", *MEDIUM) as process:
        kill(process)
        place.wait_for_end()
        yield place


@contextmanager
def client_and_driver_killed(place: Place) -> Iterator[Place]:
    with (
        running(place, "--workers", "2", *MEDIUM) as process,
        killed_with_driver(place, process),
    ):
        yield place


@contextmanager
def killed_with_driver(place: Place, client: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill a client and its driver at once, and remove what stays of their Ray afterwards."""
    driver = driver_of(place)
    folder = Path(driver.environ()[RAY_DIR])
    client.kill()
    driver.kill()
    client.wait()
    try:
        yield
    finally:  # not by `cluster clean`, which would remove what others left on this machine, too
        private_ray.remove(folder)
