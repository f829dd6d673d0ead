"""Where a job runs: in this process, on a Ray of this machine, or on a cluster."""

from orchestrator.cli.options.cluster import headers_from
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
    shipping: Shipping,
    headers: str | None,
    verify_certificate: bool,
    verbose: bool,
) -> Launcher:
    """Return the launcher for a mode of this machine, or for a cluster if one is named.

    `headers`: the value of --headers, which is read only for a cluster.

    Raises InputError or StorageError.
    """
    if cluster is None:
        return launcher_here(mode, verbose)
    from orchestrator.client import Client

    client = Client(storage, cluster, verify_certificate, headers_from(headers))
    return client.launcher(cluster, shipping)
