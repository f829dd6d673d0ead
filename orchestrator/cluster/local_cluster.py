"""A cluster of real Ray nodes on this machine, for trials and tests: up, status, down.

Each node is a raylet with its own folder, as if it had its own machine. The cluster has its own
token, and listens on the loopback interface alone. Nothing is written to ~/.ray or /tmp/ray.
"""

import contextlib
import importlib.metadata
import platform
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from orchestrator.cluster import (
    dashboard,
    local_nodes,
    local_processes,
    local_registry,
    loopback,
    ray_command,
)
from orchestrator.cluster.connection import connection_to_local
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.local_registry import LocalCluster, LocalNode
from workers.errors import ClusterError, InputError

Note = Callable[[str], None]
_PREFIX = "rnnjob-c-"
_TOKEN = "token"
_ADDRESS_FILE = "ray_current_cluster"
"""The file in the head's folder to which `ray start` writes the address of the GCS."""
_READY_TIMEOUT_S = 60.0
_GRACE_S = 5.0
_POLL_S = 0.2


@dataclass(frozen=True)
class EndedCluster:
    """A cluster that `down` has ended, with the number of its processes that were ended."""

    name: str
    num_processes: int


def up(
    name: str = local_registry.DEFAULT_NAME,
    num_nodes: int = 1,
    cpus_per_node: int = 1,
    note: Note = lambda _: None,
    verbose: bool = False,
) -> LocalCluster:
    """Start a head and `num_nodes - 1` workers, and return once all are alive.

    On any error, and on Ctrl-C, the nodes that were started are ended first.

    Args:
        name: the name of the cluster.
        num_nodes: the number of nodes, the head included.
        cpus_per_node: the number of CPUs that each node offers.
        note: called with each text about the progress.
        verbose: whether `note` also gets the nodes' whole logs if the start fails.

    Raises:
        InputError: a cluster of that name runs, or the name is not valid.
        ClusterError: Ray did not start; the cause has the last line of its output.
    """
    local_registry.check_name(name)
    _remove_ended(name)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=ray_command.short_temp_dir()))
    try:
        cluster = _describe(name, folder, cpus_per_node)
        local_registry.write_private(Path(cluster.token_path), secrets.token_hex(32))
        local_registry.claim(cluster)
    except FileExistsError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _name_taken(name) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        return _start(cluster, num_nodes, note)
    except BaseException:
        if verbose:
            for log in sorted(folder.glob(f"*/{local_nodes.START_LOG}")):
                note(log.read_text(errors="replace"))
        _end(cluster)
        raise


def _remove_ended(name: str) -> None:
    """Remove what is left of an earlier cluster of that name. Raises InputError if it runs."""
    if not local_registry.exists(name):
        return
    earlier = local_registry.find(name)
    local_registry.check_host(earlier)
    is_starting = not earlier.address and local_processes.running([earlier.started_by])
    if is_starting or _processes_of(earlier):
        raise _name_taken(name)
    _end(earlier)


def _name_taken(name: str) -> InputError:
    return InputError(
        f"a local cluster '{name}' is up already",
        f"see rnnjob cluster status {name}, end it with rnnjob cluster down {name}, "
        "or choose another --name",
    )


def _describe(name: str, folder: Path, cpus_per_node: int) -> LocalCluster:
    return LocalCluster(
        name=name,
        address="",
        token_path=str(folder / _TOKEN),
        folder=str(folder),
        host=socket.gethostname(),
        created_at=time.time(),
        started_by=local_processes.identify(psutil.Process()),
        cpus_per_node=cpus_per_node,
        ray_version=importlib.metadata.version("ray"),
        python_version=platform.python_version(),
    )


def _start(cluster: LocalCluster, num_nodes: int, note: Note) -> LocalCluster:
    port = local_nodes.free_port()
    head, *workers = (Path(cluster.folder) / f"n{index}" for index in range(num_nodes))
    note(f"starting the head of '{cluster.name}'")
    head_options = (
        "--head",
        "--port=0",
        f"--dashboard-port={port}",
        f"--dashboard-host={loopback.ADDRESS}",
    )
    local_nodes.start_nodes(cluster, [head], *head_options)
    if workers:
        note(f"starting {len(workers)} more node(s)")
        gcs_address = (head / _ADDRESS_FILE).read_text().strip()
        local_nodes.start_nodes(cluster, workers, f"--address={gcs_address}")
    started = replace(cluster, address=f"http://127.0.0.1:{port}")
    return _record_nodes(started, [head, *workers])


def add_node(name: str = local_registry.DEFAULT_NAME) -> LocalCluster:
    """Start one more node, and return once it is alive. If it does not start, its processes end.

    Raises:
        NoSuchClusterError: there is no cluster of that name.
        ClusterError: Ray did not start; the cause has the last line of its output.
    """
    cluster = local_registry.find(name)
    local_registry.check_host(cluster)
    head = Path(cluster.folder) / "n0"
    numbers = [int(folder.name[1:]) for folder in head.parent.glob("n[0-9]*")]
    folder = head.with_name(f"n{1 + max(numbers, default=0)}")
    try:
        gcs_address = (head / _ADDRESS_FILE).read_text().strip()
        local_nodes.start_nodes(cluster, [folder], f"--address={gcs_address}")
        return _record_nodes(cluster, [folder])
    except BaseException:
        local_processes.end(local_processes.find(folder), _GRACE_S)
        raise


def _record_nodes(cluster: LocalCluster, folders: list[Path]) -> LocalCluster:
    """Wait until new nodes are alive, and write them into the cluster's record."""
    names = {local_nodes.node_name(cluster.name, folder) for folder in folders}
    ids = {node.name: node.node_id for node in _wait_until_alive(cluster, names)}
    new_nodes = [_describe_node(folder, cluster.name, ids) for folder in folders]
    with_nodes = replace(cluster, nodes=(*cluster.nodes, *new_nodes))
    local_registry.update(with_nodes)
    return with_nodes


def _wait_until_alive(cluster: LocalCluster, names: set[str]) -> list[Node]:
    until = time.monotonic() + _READY_TIMEOUT_S
    last = "the dashboard does not answer"
    while time.monotonic() < until:
        with contextlib.suppress(ClusterError):
            nodes = dashboard.list_nodes(connection_to_local(cluster))
            alive = {node.name for node in nodes if node.is_alive} & names
            if alive == names:
                return nodes
            last = f"{len(alive)} of {len(names)} nodes are alive"
        time.sleep(_POLL_S)
    raise local_nodes.start_failed(f"after {_READY_TIMEOUT_S:.0f} s {last}")


def _describe_node(folder: Path, cluster_name: str, ids: dict[str, str]) -> LocalNode:
    name = local_nodes.node_name(cluster_name, folder)
    processes = []
    for process in sorted(local_processes.find(folder), key=lambda p: p.pid):
        with contextlib.suppress(psutil.Error):  # a short-lived process has ended meanwhile
            processes.append(local_processes.identify(process))
    return LocalNode(name, ids.get(name, ""), tuple(processes))


def status(name: str = local_registry.DEFAULT_NAME) -> tuple[LocalCluster, list[Node]]:
    """Return the cluster and its present nodes. A dead node has the CPUs that it started with.

    Raises:
        NoSuchClusterError: there is no cluster of that name.
        ClusterError: the cluster does not answer.
    """
    cluster = local_registry.find(name)
    local_registry.check_host(cluster)
    try:
        nodes = dashboard.list_nodes(connection_to_local(cluster))
        return cluster, list(_with_cpus(cluster, nodes))
    except (ClusterError, InputError) as error:
        # InputError: the folder with the token was removed, or the cluster still starts.
        raise ClusterError(
            f"the local cluster '{name}' does not answer: {error.cause}",
            f"rnnjob cluster down {name}, then rnnjob cluster up --local --name {name}",
        ) from error


def _with_cpus(cluster: LocalCluster, nodes: list[Node]) -> Iterator[Node]:
    """Yield the nodes; fill in the CPUs of dead ones, which the dashboard does not report."""
    for node in nodes:
        yield node if node.cpus_total else replace(node, cpus_total=float(cluster.cpus_per_node))


def down(name: str = local_registry.DEFAULT_NAME) -> EndedCluster:
    """End all processes of a cluster and their children, and remove its folder and its record.

    Raises:
        NoSuchClusterError: there is no cluster of that name.
        ClusterError: a process cannot be ended.
    """
    cluster = local_registry.find(name)
    local_registry.check_host(cluster)
    return EndedCluster(name, _end(cluster))


def _processes_of(cluster: LocalCluster) -> set[psutil.Process]:
    recorded = local_processes.running(cluster.processes)
    return local_processes.with_descendants(recorded | local_processes.find(Path(cluster.folder)))


def _end(cluster: LocalCluster) -> int:
    """End all processes, remove the folder and the record, and return the number of processes."""
    ended: set[psutil.Process] = set()
    # The loop finds processes that were started while others were ended.
    while processes := _processes_of(cluster) - ended:
        # Raylets go first: while the GCS lives, they end at once, together with their workers.
        raylets = {process for process in processes if _name_of(process) == "raylet"}
        left = local_processes.end(raylets, _GRACE_S)
        left |= local_processes.end(processes - raylets, _GRACE_S)
        if left:
            raise ClusterError(
                f"these processes of the local cluster '{cluster.name}' cannot be ended: "
                + ", ".join(str(process.pid) for process in left),
                "end them as the user who started them, then run rnnjob cluster down again",
            )
        ended |= processes
    folder = Path(cluster.folder)
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    local_registry.remove(cluster.name)
    return len(ended)


def _name_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return ""
