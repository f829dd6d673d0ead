"""Where a job runs: in this process, on a Ray of this machine, or on a cluster."""

from orchestrator.cli.options.cluster import RequestFlags
from orchestrator.launch.launcher import Launcher, launcher_here
from orchestrator.launch.request import Shipping
from workers.errors import InputError


def check_destination(
    local: bool,
    workers: str | None,
    cluster: str | None,
    no_wait: bool,
    address: str | None,
) -> None:
    """Raise InputError if flags that say where a job runs contradict each other.

    Args:
        cluster: the address of the cluster that the flags and the environment name, if any.
        address: what --address says.
    """
    if local and workers is not None:
        raise InputError(
            "--local is one process and takes no --workers", "leave one of the two out"
        )
    if local and address is not None:
        raise InputError("--local needs no --address", "leave one of the two out")
    if no_wait and cluster is None:
        raise InputError(
            "--no-wait needs a cluster that goes on without this process",
            "name one: --address, or start one: rnnjob cluster up --local",
        )


def launcher_for(
    mode: str,
    cluster: str | None,
    *,
    storage: str,
    requests: RequestFlags,
    shipping: Shipping,
    verbose: bool,
) -> Launcher:
    """Return the launcher for a mode of this machine, or for a cluster if one is named.

    Raises InputError or StorageError.
    """
    if cluster is None:
        return launcher_here(mode, verbose)
    return requests.client(storage, cluster).launcher(cluster, shipping)
