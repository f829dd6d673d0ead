"""How many CPUs a worker of a job gets where its spec leaves that open.

On this machine, the workers share all CPUs. On a cluster they take what its nodes have free, so
that all workers find room at once. It decides the speed of a job, never its result.
"""

import time
from collections.abc import Callable, Iterable

from orchestrator.cluster.capacity import ResourceRequest, Resources, fitting_cpus
from orchestrator.spec.job_spec import JobSpec
from workers.shards.order import most_shards

_POLL_S = 0.5
_SETTLE_S = 5.0
"""How long what a lost driver's workers held may take to be free."""


def is_open_on_cluster(spec: JobSpec) -> bool:
    """Return whether the CPUs of a worker on a cluster depend on what its nodes have free.

    A worker with a GPU has one CPU, because no thread computes a shard there. One of a job with
    `MIN:MAX` workers has one, too, so that as many of them as possible find room.
    """
    fewest, most = spec.scaling.worker_range
    is_auto = spec.scaling.cpus_per_worker == "auto"
    return is_auto and fewest == most and not spec.scaling.gpus_per_worker


def cpus_on_cluster(spec: JobSpec) -> int:
    """Return the CPUs of a worker on the cluster that this process is connected to."""
    from ray._private.state import available_resources_per_node

    if is_open_on_cluster(spec):
        return _fitting(spec, available_resources_per_node().values())
    return int(ResourceRequest.of(spec).per_worker["CPU"])


def settled_cpus_on_cluster(spec: JobSpec, check_may_wait: Callable[[], None]) -> int:
    """Return the same, after a driver was lost: what its workers held is given some time to be
    free, since the job keeps the number that is found now.

    `check_may_wait`: raises JobError once the job is no longer to wait.
    """
    import ray

    deadline = time.monotonic() + _SETTLE_S
    while True:
        cpus = cpus_on_cluster(spec)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        is_most = not is_open_on_cluster(spec) or cpus >= _fitting(spec, nodes)
        if is_most or time.monotonic() > deadline:
            return cpus
        check_may_wait()
        time.sleep(_POLL_S)


def _fitting(spec: JobSpec, nodes: Iterable[Resources]) -> int:
    num_workers = spec.scaling.worker_range[1]
    per_worker = ResourceRequest.of(spec).per_worker
    most = most_shards(spec.dataset.num_shards, num_workers)  # one thread computes a shard
    return fitting_cpus(per_worker, num_workers, nodes, most)
