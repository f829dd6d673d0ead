"""Prepare a drill, and run it in one process, on its own cluster or on an existing cluster."""

import contextlib
import secrets
from collections.abc import Collection, Iterator
from typing import Any

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster import local_cluster, local_registry
from orchestrator.cluster.capacity import ResourceRequest, why_it_cannot_fit
from orchestrator.drill.cluster_stage import ClusterStage
from orchestrator.drill.fault_schedule import plan_faults
from orchestrator.drill.process_stage import ProcessStage
from orchestrator.drill.run import Drill, Note, Report, disturbed_id, run_drill, undisturbed_id
from orchestrator.launch.local import LocalLauncher
from orchestrator.launch.request import Shipping
from orchestrator.launch.submission import check_new_run
from orchestrator.spec.job_spec import JobSpec
from workers.errors import InputError, RunExistsError
from workers.storage.storage import Storage

DEFAULTS: dict[str, Any] = {
    "name": "drill",
    "dataset.name": "mnist-sample",
    # Large enough to learn the digits in 174 steps, since equal weights of a job that learns
    # nothing would prove less; and slow enough for a fault to hit a running job.
    "model.hidden_size": 128,
    "model.num_layers": 2,
    "training.epochs": 3,
    "training.global_batch_size": 64,
    "scaling.workers": 2,
    "checkpoint.every_steps": 10,
}
"""The keys of the spec for which a drill has its own default values."""
_RESTARTS_PER_FAULT = 3
"""A lost node may cost more than one restart."""


def plan_drill(
    spec: JobSpec, run_id: str | None, kinds: Collection[str], num_faults: int
) -> tuple[Drill, JobSpec]:
    """Return the plan of the drill, and the spec of its two runs.

    The job's seed determines the faults. The data is prepared; nothing else is written. Raises
    JobError.
    """
    base = run_id or runs.new_run_id(spec.name)
    failures = max(spec.limits.max_failures, _RESTARTS_PER_FAULT * num_faults)
    spec = spec.with_values({"limits.max_failures": failures})
    checked = check_new_run(spec, LocalLauncher(), undisturbed_id(base))
    storage = Storage(checked.spec.storage)
    for name in (undisturbed_id(base), disturbed_id(base)):
        if storage.exists(name):
            raise RunExistsError(
                f"the run '{name}' is already in {storage.where()}",
                "choose another --run-id, or leave it out to have one generated",
            )
    seed = spec.training.seed
    drill = Drill(
        run_id=base,
        seed=seed,
        faults=plan_faults(kinds, num_faults, checked.num_steps, seed),
        num_steps=checked.num_steps,
        train_rows=checked.data.shape.train_rows,
    )
    return drill, checked.spec


def in_processes(drill: Drill, spec: JobSpec, note: Note) -> Report:
    """Run each of the two runs in its own process, without Ray. Raises JobError."""
    return run_drill(drill, ProcessStage(spec), ProcessStage(spec), note)


def on_cluster(
    drill: Drill,
    spec: JobSpec,
    client: Client,
    address: str,
    shipping: Shipping,
    note: Note,
    undisturbed_on_cluster: bool = False,
) -> Report:
    """Run the disturbed run on the cluster at `address`.

    The undisturbed run is on that cluster, too, if `undisturbed_on_cluster`, and otherwise in one
    process on this machine. Raises JobError; a ClusterError is raised before anything has run.
    """
    connection = client.connection(address)
    client.check(spec, disturbed_id(drill.run_id), shipping)
    known = local_registry.find_by_address(connection.address)
    stages = [
        ClusterStage(client, connection, spec, shipping, known.name if known else None)
        for _ in range(2)
    ]
    undisturbed = stages[1] if undisturbed_on_cluster else ProcessStage(spec)
    return run_drill(drill, undisturbed, stages[0], note)


@contextlib.contextmanager
def own_cluster(spec: JobSpec, num_nodes: int, cpus_per_node: int, note: Note) -> Iterator[str]:
    """Start a local cluster for the drill, and remove it on exit, whatever happens.

    Yields the cluster's name. Raises InputError if the job would never fit, and ClusterError if the
    cluster does not start.
    """
    nodes = [{"CPU": float(cpus_per_node)}] * num_nodes
    if why_not := why_it_cannot_fit(ResourceRequest.of(spec), nodes):
        raise InputError(why_not, "use more --nodes or --cpus-per-node, or fewer --workers")
    cluster = local_cluster.up(f"drill-{secrets.token_hex(2)}", num_nodes, cpus_per_node, note)
    try:
        yield cluster.name
    finally:
        local_cluster.down(cluster.name)
