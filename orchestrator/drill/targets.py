"""Finds, on the cluster, the process that a fault is to hit."""

import random
from dataclasses import dataclass
from typing import Any

from orchestrator.drill.plan import DRIVER, NODE, Fault

_WORKER_CLASS = "RayTrainWorker"
_MOST_ACTORS = 10_000
_HEAD = "node:__internal_head__"
"""A resource that only the head has."""


@dataclass(frozen=True)
class Target:
    """A process of the run: of a worker for all kinds but DRIVER."""

    what: str
    pid: int
    node_id: str

    def __str__(self) -> str:
        return f"{self.what} on node {self.node_id[:12]}"


def find_target(fault: Fault, job_id: str) -> Target | str:
    """Why there is none, in words, where there is none.

    `job_id`: what Ray Jobs calls the run.
    """
    from ray.util import state

    job = next((job for job in state.list_jobs(detail=True) if job.submission_id == job_id), None)
    if job is None or job.driver_info is None:
        return "its driver is not connected to Ray"
    if fault.kind == DRIVER:
        return Target("driver", int(job.driver_info.pid), job.driver_node_id)
    workers = _workers(job.job_id)
    if fault.kind == NODE:
        spared = {job.driver_node_id, *_heads()}
        workers = [worker for worker in workers if worker.node_id not in spared]
        if not workers:
            return "no worker is on a node other than the head's and the driver's"
    if not workers:
        return "no worker runs"
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
        limit=_MOST_ACTORS,
    )
    found = [Target("worker", actor.pid, actor.node_id) for actor in actors]
    return sorted(found, key=lambda worker: (worker.node_id, worker.pid))


def _heads() -> list[str]:
    import ray

    return [node["NodeID"] for node in ray.nodes() if _HEAD in node["Resources"]]
