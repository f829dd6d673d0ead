"""Disasters of a job on a cluster of three Ray nodes of one CPU each, on this machine."""

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.matrix.place import (
    JOB,
    LONG,
    MEDIUM,
    RUN,
    Place,
    below_of,
    driver_of,
    titled,
    wait_for,
)
from orchestrator.cluster import local_processes

_NODES = 3


@dataclass(frozen=True)
class Cluster:
    content: dict[str, Any]
    """What `rnnjob cluster up --json` printed."""

    @property
    def folder(self) -> Path:
        return Path(self.content["folder"])

    def raylets(self) -> list[psutil.Process]:
        """Return the raylets, that of the head first."""
        found = {
            (number, each)
            for number in range(_NODES)
            for each in local_processes.find(self.folder / f"n{number}")
            if each.name() == "raylet"
        }
        return [each for _, each in sorted(found, key=lambda pair: pair[0])]

    def find(self, title: str) -> list[psutil.Process]:
        below = (below_of(raylet.pid) for raylet in self.raylets())
        return titled(set().union(*below), title)


@contextmanager
def on_cluster(place: Place, *words: str) -> Iterator[Cluster]:
    """Start a cluster and a job on it, and wait until the job trains."""
    size = ("--nodes", str(_NODES), "--cpus-per-node", "1")
    up = place.run("cluster", "up", "--local", *size, "--json")
    assert up.code == 0, up.stderr
    try:
        submitted = place.run(*JOB, *words, "--address", "local", "--run-id", RUN, "-d")
        assert submitted.code == 0, submitted.stderr
        place.wait_for_steps()
        yield Cluster(up.json)
    finally:
        place.run("cluster", "down")


def ray_jobs_says(place: Place) -> str:
    """Return the state of the run's job in Ray's own words; empty if no cluster is up."""
    try:
        content = json.loads((place.folder / "state" / "clusters" / "local.json").read_text())
        token = Path(content["token_path"]).read_text().strip()
        request = urllib.request.Request(
            f"{content['address']}/api/jobs/{place.record()['job_id'] or RUN}",
            headers={"Authorization": f"Bearer {token}"},
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return str(json.loads(reply.read())["status"])
    except (OSError, ValueError):
        return "no answer"


def supervisor_of(driver: psutil.Process) -> psutil.Process:
    parent = driver.parent()
    assert parent is not None and "orchestrator.driver.supervisor" in parent.cmdline()
    return parent


@contextmanager
def supervisor_killed(place: Place) -> Iterator[Place]:
    with on_cluster(place, "--workers", "2", *MEDIUM):
        supervisor_of(driver_of(place)).kill()
        place.wait_for_end()
        yield place


@contextmanager
def supervisor_and_driver_killed(place: Place) -> Iterator[Place]:
    with on_cluster(place, "--workers", "2", *MEDIUM):
        driver = driver_of(place)
        supervisor_of(driver).kill()
        driver.kill()
        wait_for(lambda: ray_jobs_says(place) != "RUNNING")
        yield place


@contextmanager
def controller_killed(place: Place) -> Iterator[Place]:
    with on_cluster(place, "--workers", "2", *LONG) as cluster:
        cluster.find("TrainController")[0].kill()
        place.wait_for_attempt(2)
        yield place


@contextmanager
def node_killed(place: Place) -> Iterator[Place]:
    with on_cluster(place, "--workers", "2", *LONG) as cluster:
        nodes = cluster.raylets()[1:]
        next(n for n in nodes if titled(below_of(n.pid), "RayTrainWorker")).kill()
        place.wait_for_attempt(2)
        yield place


@contextmanager
def head_killed(place: Place) -> Iterator[Place]:
    """Kill all processes of the head's node at once, as if its machine lost its power."""
    with on_cluster(place, "--workers", "2", *MEDIUM) as cluster:
        for each in local_processes.find(cluster.folder / "n0"):
            with contextlib.suppress(psutil.Error):
                each.kill()
        time.sleep(5)
        yield place


@contextmanager
def dashboard_suspended(place: Place) -> Iterator[Place]:
    with on_cluster(place, "--workers", "2", *LONG) as cluster, _silent(cluster):
        yield place


@contextmanager
def dashboard_back(place: Place) -> Iterator[Place]:
    with on_cluster(place, "--workers", "2", *LONG) as cluster:
        with _silent(cluster):
            place.run("status", RUN)
        yield place


@contextmanager
def _silent(cluster: Cluster) -> Iterator[None]:
    """Suspend the dashboard of a cluster: it takes requests and never answers."""
    processes = local_processes.find(cluster.folder / "n0")
    dashboards = [*titled(processes, "dashboard.py"), *titled(processes, "Dashboard")]
    assert dashboards
    for each in dashboards:
        os.kill(each.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in dashboards:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGCONT)
