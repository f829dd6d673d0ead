"""Where a run that ended goes on, if the user does not say everything."""

from orchestrator import runs
from orchestrator.cluster.connection import given_address
from orchestrator.cluster.known_addresses import recorded_connection
from workers.records.run_folder import RunFolder


def where_to_resume(
    run: RunFolder, local: bool, has_workers: bool, address: str | None
) -> tuple[str, str | None]:
    """Return the mode, and the cluster's address if the run continues on a cluster.

    `has_workers`: whether the user asks for a number of workers.

    Raises InputError if only the run's record names that cluster.
    """
    before = runs.read_status(run)
    if local:
        return runs.LOCAL, None
    if cluster := given_address(address):
        return runs.CLUSTER, cluster
    if before.is_on_cluster:
        return runs.CLUSTER, recorded_connection(before.address, run.run_id).address
    is_local = before.mode == runs.LOCAL and not has_workers
    return runs.LOCAL if is_local else runs.RAY, None
