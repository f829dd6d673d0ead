"""Where a drill can take place: one process, a cluster of its own, a cluster that is there."""

import contextlib
import secrets
from collections.abc import Iterator

from orchestrator.client import Client
from orchestrator.cluster import local, state
from orchestrator.drill.cluster_stage import ClusterStage
from orchestrator.drill.process_stage import ProcessStage
from orchestrator.drill.run import Drill, Note, Report, disturbed_id, run_drill
from orchestrator.job_spec import JobSpec
from orchestrator.launchers.request import Shipping
from orchestrator.room import Need, what_never_fits
from workers.errors import InputError


def in_processes(drill: Drill, spec: JobSpec, note: Note) -> Report:
    """Both runs in one process each, without Ray. Raises JobError."""
    return run_drill(drill, ProcessStage(spec), ProcessStage(spec), note)


def on_cluster(
    drill: Drill,
    spec: JobSpec,
    client: Client,
    address: str,
    shipping: Shipping,
    note: Note,
    undisturbed_there: bool = False,
) -> Report:
    """The disturbed run on the client's cluster, at `address`; the other there, too, or here in one
    process.

    Raises JobError; ClusterError before anything has run.
    """
    connection = client.connection(address)
    client.check(spec, disturbed_id(drill.run_id), shipping)
    known = state.at_address(connection.address)
    stages = [
        ClusterStage(client, connection, spec, shipping, known.name if known else None)
        for _ in range(2)
    ]
    undisturbed = stages[1] if undisturbed_there else ProcessStage(spec)
    return run_drill(drill, undisturbed, stages[0], note)


@contextlib.contextmanager
def own_cluster(spec: JobSpec, num_nodes: int, cpus_per_node: int, note: Note) -> Iterator[str]:
    """The name of a local cluster with room for the job; whatever happens, it is gone afterwards.

    Raises InputError where the job would never fit, ClusterError where the cluster does not start.
    """
    if never := what_never_fits(Need.of(spec), [{"CPU": float(cpus_per_node)}] * num_nodes):
        raise InputError(never, "more --nodes or --cpus-per-node, or fewer --workers")
    cluster = local.up(f"drill-{secrets.token_hex(2)}", num_nodes, cpus_per_node, note)
    try:
        yield cluster.name
    finally:
        local.down(cluster.name)
