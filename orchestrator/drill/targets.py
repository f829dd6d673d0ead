"""Find the process on the cluster that a fault is to hit."""

import random
from dataclasses import dataclass
from typing import Any

from orchestrator.drill.fault_schedule import DRIVER, NODE, SUPERVISOR, Fault

NO_DRIVER = "the driver of the run is not connected to Ray"
NO_WORKER = "no worker is running"
_WORKER_CLASS = "RayTrainWorker"
_MAX_ACTORS = 10_000
_HEAD = "node:__internal_head__"
"""A Ray resource that only the head node has."""


@dataclass(frozen=True)
class Target:
    """A process of the run: the driver for DRIVER and SUPERVISOR, otherwise a worker."""

    role: str
    pid: int
    node_id: str

    def __str__(self) -> str:
        return f"{self.role} on node {self.node_id[:12]}"


def find_target(fault: Fault, job_id: str) -> Target | str:
    """Return the target; if there is none, return the reason as a text.

    `job_id`: the id of the run in Ray Jobs.
    """
    from ray.util import state

    job = next((job for job in state.list_jobs(detail=True) if job.submission_id == job_id), None)
    if job is None or job.driver_info is None:
        return NO_DRIVER
    if fault.kind in (DRIVER, SUPERVISOR):
        role = "driver" if fault.kind == DRIVER else "supervisor"
        return Target(role, int(job.driver_info.pid), job.driver_node_id)
    workers = _workers(job.job_id)
    if not workers:
        return NO_WORKER
    if fault.kind == NODE:
        spared = {job.driver_node_id, *_heads()}
        workers = [worker for worker in workers if worker.node_id not in spared]
        if not workers:
            return "all workers are on the head node or on the driver's node"
    return random.Random(fault.draw).choice(workers)


def _workers(ray_job_id: str) -> list[Target]:
    from ray.util import state

    actors: list[Any] = state.list_actors(
        filters=[
            ("class_name", "=", _WORKER_CLASS),
            ("job_id", "=", ray_job_id),
            ("state", "=", "ALIVE"),
        ],
        detail=True,
        limit=_MAX_ACTORS,
    )
    workers = [Target("worker", actor.pid, actor.node_id) for actor in actors]
    return sorted(workers, key=lambda worker: (worker.node_id, worker.pid))


def _heads() -> list[str]:
    import ray

    return [node["NodeID"] for node in ray.nodes() if _HEAD in node["Resources"]]
