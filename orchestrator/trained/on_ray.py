"""Where a model is used if not in this process: a Ray of this machine, or a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.requirements import check_cluster
from orchestrator.launch.ray_here import RayHereLauncher
from orchestrator.launch.ray_jobs import RayJobsLauncher
from orchestrator.launch.request import Shipping
from orchestrator.trained.parts import ProgramLauncher
from workers.errors import InputError
from workers.storage.storage import Storage


@dataclass(frozen=True)
class OnRay:
    """Where the actors run, and how many there are."""

    launcher: ProgramLauncher
    num_workers: int


def on_ray_here(num_workers: int) -> OnRay:
    """Return a Ray that is started on this machine. Raises InputError."""
    return OnRay(RayHereLauncher(), _checked(num_workers))


def on_cluster(
    connection: Connection,
    storages: Sequence[Storage],
    num_workers: int | None = None,
    shipping: Shipping | None = None,
) -> OnRay:
    """Return a cluster, if it can be used.

    Args:
        storages: what its nodes must reach.
        num_workers: the most actors; None for one for each CPU.

    Raises InputError, or ClusterError if the cluster cannot be used.
    """
    for storage in storages:
        nodes = check_cluster(connection, storage)
    if num_workers is None:
        num_workers = max(1, int(sum(node.cpus_total for node in nodes)))
    return OnRay(RayJobsLauncher(connection, shipping), _checked(num_workers))


def _checked(num_workers: int) -> int:
    if num_workers < 1:
        raise InputError(f"{num_workers} workers cannot compute anything", "name 1 at least")
    return num_workers
