"""The disasters, and what must be told of each."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from benchmarks.matrix import in_one_process, of_storages, on_cluster, on_ray
from benchmarks.matrix.place import MEDIUM, SHORT, Place


@dataclass(frozen=True)
class Disaster:
    """What is done to a run, and what must then be told of it."""

    text: str
    do: Callable[[Place], AbstractContextManager[Place]]
    """Yields the place in which the verbs are to be asked."""
    state: str
    """The state that each verb must tell; empty if no verb finds the run."""
    why: str = ""
    """The category that `why` must tell."""
    wait: int = 124
    """The exit code of `wait`: 124 if it goes on waiting."""
    stop: int = 0
    resume: int = 2
    """The exit code of `resume --local`. With 0, its weights are those of an undisturbed run."""
    job: tuple[str, ...] = SHORT
    """The job of the undisturbed run."""
    ray_jobs: str = ""
    """What Ray Jobs must tell; empty without a cluster."""
    no_run: int = 4
    """The exit code of the verbs that do not find the run."""


def goes_on(text: str, do: Callable[[Place], AbstractContextManager[Place]]) -> Disaster:
    return Disaster(text, do, "RUNNING", "running")


def goes_on_there(text: str, do: Callable[[Place], AbstractContextManager[Place]]) -> Disaster:
    return Disaster(text, do, "RUNNING", "running", ray_jobs="RUNNING")


here, ray, cluster, storage = in_one_process, on_ray, on_cluster, of_storages
DISASTERS = {
    "killed": Disaster(
        "`--local`: its process killed", here.killed, "LOST", "driver-died", 1, 2, 0
    ),
    "suspended": Disaster(
        "`--local`: its process suspended for a minute", here.suspended, "RUNNING", "standstill"
    ),
    "awake": goes_on("`--local`: suspended for 20 s, and then not", here.awake),
    "clock": goes_on("the clock set three hours ahead, `--time 1h`", here.clock_set),
    "deleted": Disaster("the folder deleted while it runs", here.deleted, "", "", 4, 4, 4),
    "damaged": Disaster("`status.json` damaged", here.damaged, "", "", 4, 4, 4),
    "edited-status": goes_on(
        "`status.json` edited to SUCCEEDED while it runs", here.edited_while_it_runs
    ),
    "edited-job": Disaster(
        "killed, and another seed in its `job.yaml`", here.edited, "LOST", "driver-died", 1, 2, 1
    ),
    "copied": Disaster(
        "killed, and its folder copied elsewhere", here.copied, "LOST", "driver-died", 1, 2, 0
    ),
    "copied-running": Disaster(
        "its folder copied while it runs: the copy", here.copied_while_it_runs, "RUNNING",
        "standstill",
    ),
    "full": Disaster("the disk full while it runs", storage.full, "LOST", "driver-died", 1, 2, 1),
    "read-only": Disaster(
        "killed, and the storage read-only", storage.read_only, "LOST", "driver-died", 1, 2, 1
    ),
    "slow": goes_on("S3 that answers a second late", storage.slow),
    "gone": Disaster("S3 that answers no more", storage.gone, "", "", 1, 1, 1, no_run=1),
    "unreachable": Disaster(
        "another machine's cluster does not answer", here.unreachable, "UNREACHABLE", "unreachable"
    ),
    "worker-suspended": Disaster(
        "Ray here: a worker suspended", ray.worker_suspended, "RUNNING", "standstill"
    ),
    "worker-killed": goes_on("Ray here: a worker killed", ray.worker_killed),
    "controller-killed": goes_on("Ray here: Ray Train's controller killed", ray.controller_killed),
    "driver-killed": goes_on("Ray here: the driver killed", ray.driver_killed),
    "client-killed": Disaster(
        "Ray here: the client killed", ray.client_killed, "STOPPED", "stopped", 5, 2, 0, MEDIUM
    ),
    "both-killed": Disaster(
        "Ray here: client and driver killed", ray.client_and_driver_killed, "LOST", "driver-died",
        1, 2, 0, MEDIUM,
    ),
    "node-killed": goes_on_there("cluster: a node killed", cluster.node_killed),
    "cluster-controller-killed": goes_on_there(
        "cluster: Ray Train's controller killed", cluster.controller_killed
    ),
    "supervisor-killed": Disaster(
        "cluster: the supervisor killed", cluster.supervisor_killed, "FAILED", "out-of-memory", 1,
        2, 0, MEDIUM, "FAILED",
    ),
    "supervisor-driver-killed": Disaster(
        "cluster: supervisor and driver killed", cluster.supervisor_and_driver_killed, "LOST",
        "out-of-memory", 1, 2, 0, MEDIUM, "FAILED",
    ),
    "head-killed": Disaster(
        "cluster: the head killed", cluster.head_killed, "LOST", "driver-died", 1, 2, 0, MEDIUM,
        "no answer",
    ),
    "dashboard-silent": Disaster(
        "cluster: its dashboard does not answer", cluster.dashboard_suspended, "RUNNING",
        "unreachable", ray_jobs="no answer",
    ),
    "dashboard-back": goes_on_there("cluster: and then answers again", cluster.dashboard_back),
}  # fmt: skip
