"""What must be true of a cluster before a job is handed to it."""

import platform
import socket
from importlib import metadata

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.dashboard import Node, get_json, list_nodes
from orchestrator.job_spec import JobSpec
from orchestrator.room import Need, listed, what_never_fits
from workers.errors import ClusterError, InputError
from workers.storage import Storage

_SHARED = ("nfs", "lustre", "ceph", "gpfs", "beegfs", "cifs", "smb", "fuse.", "9p", "glusterfs")
"""Beginnings of file system types that several machines can see."""


def check_cluster(connection: Connection, storage: Storage) -> list[Node]:
    """The nodes of a cluster that can take a job of this client.

    Raises:
        ClusterError: it does not answer, refuses the token, or runs other versions.
        InputError: its nodes would not see the storage.
    """
    _check_versions(connection)
    nodes = [node for node in list_nodes(connection) if node.is_alive]
    _check_storage(connection, storage, nodes)
    return nodes


def _check_versions(connection: Connection) -> None:
    theirs = {
        "Ray": str(get_json(connection, "/api/version").get("ray_version")),
        "Python": _python_of(connection),
    }
    ours = {"Ray": metadata.version("ray"), "Python": platform.python_version()}
    for name, version in ours.items():
        # Ray asks for the same Python down to the minor version; its own must be equal.
        same = theirs[name] == version or (
            name == "Python" and theirs[name].split(".")[:2] == version.split(".")[:2]
        )
        if not same:
            raise ClusterError(
                f"the cluster at {connection.address} runs {name} {theirs[name]}, "
                f"this client {version}",
                f"install {name} {theirs[name]} here, or {version} on the cluster",
            )


def _python_of(connection: Connection) -> str:
    reply = get_json(connection, "/api/v0/cluster_metadata")
    content = reply.get("data") or {}
    return str(content.get("pythonVersion", "unknown"))


def _check_storage(connection: Connection, storage: Storage, nodes: list[Node]) -> None:
    """A folder of one machine is good only for a cluster on that machine."""
    if storage.local_path is None or _is_shared(storage):
        return
    machines = sorted({node.ip for node in nodes})
    cure = (
        "name storage that all nodes see: --storage s3://BUCKET/PATH, or a path on a shared file "
        "system"
    )
    if len(machines) > 1:
        raise InputError(
            f"the storage {storage.where()} is a folder of one machine, the cluster has "
            f"{len(machines)}: {', '.join(machines[:4])}",
            cure,
        )
    # Not the address: a forwarded port is on this machine, too.
    if not all(_is_here(machine) for machine in machines):
        raise InputError(
            f"the storage {storage.where()} is a folder of this machine, the cluster at "
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


def _is_here(ip: str) -> bool:
    """Whether an IP address is one of this machine's own."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((ip, 0))
        return True
    except OSError:
        return False


def does_it_fit(spec: JobSpec, nodes: list[Node]) -> str:
    """Whether the fewest workers of a job fit the nodes that are there, in words."""
    need = Need.of(spec)
    if never := what_never_fits(need, (node.resources for node in nodes)):
        return f"not on the nodes that are there now: {never}"
    free, wanted = sum(node.cpus_free or 0.0 for node in nodes), need.total["CPU"]
    when = "yes" if free >= wanted else "yes, when others have ended"
    return f"{when}: {free:g} CPU are free, it needs {listed(need.total)}"
