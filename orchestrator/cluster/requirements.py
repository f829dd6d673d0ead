"""Checks of a cluster before a job is submitted to it."""

import contextlib
import platform
import socket
import sys
from importlib import metadata

from orchestrator.cluster.capacity import (
    ResourceRequest,
    format_resources,
    num_at_once,
    why_it_cannot_fit,
)
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import Node, get_json, list_nodes
from orchestrator.cluster.ray_jobs_api import scaling
from orchestrator.spec.job_spec import JobSpec
from workers.errors import ClusterError, InputError, ResourcesError
from workers.storage.storage import Storage

_SHARED = ("nfs", "lustre", "ceph", "gpfs", "beegfs", "cifs", "smb", "fuse.", "9p", "glusterfs")
"""Prefixes of the file system types that several machines can mount."""


def check_cluster(connection: Connection, storage: Storage) -> list[Node]:
    """Check that a cluster can run a job of this client, and return its living nodes.

    Raises:
        ClusterError: the cluster does not answer, refuses the token, or runs other versions.
        InputError: the nodes of the cluster could not reach the storage.
    """
    _check_versions(connection)
    nodes = [node for node in list_nodes(connection) if node.is_alive]
    _check_storage(connection, storage, nodes)
    return nodes


def _check_versions(connection: Connection) -> None:
    """Compare what a cluster says of itself. The driver compares the rest before it begins: see
    `orchestrator.driver.client_platform`."""
    about = get_json(connection, "/api/v0/cluster_metadata").get("data") or {}
    theirs = {
        "Ray": str(get_json(connection, "/api/version").get("ray_version")),
        "Python": str(about.get("pythonVersion", "unknown")),
        "on": str(about.get("os") or sys.platform),  # not told where Ray's telemetry is off
    }
    ours = {"Ray": metadata.version("ray"), "Python": platform.python_version(), "on": sys.platform}
    for name, version in ours.items():
        # Ray requires the same Ray version and the same minor version of Python.
        is_same = theirs[name] == version or (
            name == "Python" and theirs[name].split(".")[:2] == version.split(".")[:2]
        )
        if name == "on" and not is_same:
            raise ClusterError(
                f"the cluster at {connection.address} runs on {theirs[name]}, this client on "
                f"{version}",
                f"submit from a machine with {theirs[name]}: the code and its packages are the "
                "client's",
            )
        if not is_same:
            raise ClusterError(
                f"the cluster at {connection.address} runs {name} {theirs[name]}, "
                f"this client {version}",
                f"install {name} {theirs[name]} here, or {version} on the cluster",
            )


def _check_storage(connection: Connection, storage: Storage, nodes: list[Node]) -> None:
    """Raise InputError if the storage is a local folder and the cluster is not on this machine."""
    if storage.local_path is None or _is_shared(storage):
        return
    machines = sorted({node.ip for node in nodes})
    cure = (
        "name storage that all nodes can reach: --storage s3://BUCKET/PATH, or a path on a shared "
        "file system"
    )
    if len(machines) > 1:
        raise InputError(
            f"the storage {storage.where()} is a folder of one machine, but the cluster has "
            f"{len(machines)} machines: {', '.join(machines[:4])}",
            cure,
        )
    # The cluster's address would prove nothing: a forwarded port is on this machine, too.
    if not all(_is_own_address(machine) for machine in machines):
        raise InputError(
            f"the storage {storage.where()} is a folder of this machine, but the cluster at "
            f"{connection.address} is elsewhere: {', '.join(machines)}",
            cure,
        )


def _is_shared(storage: Storage) -> bool:
    import psutil

    path = str(storage.local_path)
    mounts = [p for p in psutil.disk_partitions(all=True) if _is_below(path, p.mountpoint)]
    kind = max(mounts, key=lambda p: len(p.mountpoint)).fstype if mounts else ""
    return kind.startswith(_SHARED)


def _is_below(path: str, mountpoint: str) -> bool:
    return f"{path}/".startswith(f"{mountpoint.rstrip('/')}/")


def _is_own_address(ip: str) -> bool:
    """Return whether an IP address belongs to this machine."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
        return True
    except OSError:
        return False


def check_gpus(connection: Connection, spec: JobSpec, nodes: list[Node]) -> None:
    """Raise ResourcesError if a job wants GPUs that the cluster does not have and will not get.

    A job that lacks CPUs may wait, since somebody may add a node. A GPU that no node has is more
    often a mistake.
    """
    request = ResourceRequest.of(spec).gpus_alone
    if not request.per_worker:
        return
    why_not = why_it_cannot_fit(request, (node.resources for node in nodes))
    with contextlib.suppress(ClusterError):  # what is not known is no reason to refuse
        if why_not and scaling(connection).is_impossible:
            raise ResourcesError(
                f"{why_not}, and the cluster at {connection.address} has no autoscaler",
                "lower --workers or --gpus-per-worker, or leave GPUs out: --gpus-per-worker 0",
            )


def jobs_at_once(spec: JobSpec, nodes: list[Node]) -> int:
    """Return how many jobs like this one, with the fewest workers, fit the cluster's nodes."""
    return num_at_once(ResourceRequest.of(spec), (node.resources for node in nodes))


def whether_it_fits(spec: JobSpec, nodes: list[Node]) -> str:
    """Return a text that says whether the fewest workers of a job fit the cluster's nodes."""
    request = ResourceRequest.of(spec)
    if why_not := why_it_cannot_fit(request, (node.resources for node in nodes)):
        return f"not on the present nodes: {why_not}"
    free, wanted = sum(node.cpus_free or 0.0 for node in nodes), request.total["CPU"]
    answer = "yes" if free >= wanted else "yes, once other jobs have ended"
    return f"{answer}: {free:g} CPU are free, the job needs {format_resources(request.total)}"
