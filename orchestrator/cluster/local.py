"""Real Ray nodes on this machine, to try things out and for tests: up, status, down.

Each node is a raylet with a folder of its own, as on a machine of its own. The cluster has a token
of its own; nothing is written to ~/.ray or /tmp/ray.
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

from orchestrator.cluster import dashboard, nodes, processes, state
from orchestrator.cluster.connection import to_local
from orchestrator.cluster.dashboard import Node
from orchestrator.cluster.state import LocalCluster, LocalNode
from workers.errors import ClusterError, InputError

Note = Callable[[str], None]
_PREFIX = "rnnjob-cluster-"
_TOKEN = "token"
_ADDRESS_FILE = "ray_current_cluster"  # ray start writes the address of the GCS there
_READY_TIMEOUT_S = 60.0
_GRACE_S = 5.0
_LOOK_S = 0.2


@dataclass(frozen=True)
class Ended:
    """What `down` did."""

    name: str
    num_processes: int


def up(
    name: str = state.DEFAULT_NAME,
    num_nodes: int = 1,
    cpus_per_node: int = 1,
    note: Note = lambda _: None,
    verbose: bool = False,
) -> LocalCluster:
    """Starts a head and `num_nodes - 1` workers, and returns when all are alive.

    Whatever goes wrong, Ctrl-C included, all that was started is ended first.

    Raises:
        InputError: a cluster of that name runs, or the name cannot be one.
        ClusterError: Ray did not start; the cause is its last word.
    """
    state.check_name(name)
    _make_way(name)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir="/tmp"))  # short: sockets have 107 bytes
    try:
        cluster = _describe(name, folder, cpus_per_node)
        state.write_private(Path(cluster.token_path), secrets.token_hex(32))
        state.claim(cluster)
    except FileExistsError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise _already(name) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    try:
        return _start(cluster, num_nodes, note)
    except BaseException:
        if verbose:
            for log in sorted(folder.glob(f"*/{nodes.START_LOG}")):
                note(log.read_text(errors="replace"))
        _end(cluster)
        raise


def _make_way(name: str) -> None:
    """Removes what is left of a cluster that no longer runs. Raises InputError if one does."""
    if not state.exists(name):
        return
    before = state.find(name)
    state.check_host(before)
    is_starting = not before.address and processes.running([before.started_by])
    if is_starting or _processes_of(before):
        raise _already(name)
    _end(before)


def _already(name: str) -> InputError:
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
        started_by=processes.identify(psutil.Process()),
        cpus_per_node=cpus_per_node,
        ray_version=importlib.metadata.version("ray"),
        python_version=platform.python_version(),
    )


def _start(cluster: LocalCluster, num_nodes: int, note: Note) -> LocalCluster:
    port, client_port = nodes.free_ports(2)
    head, *workers = (Path(cluster.folder) / f"n{index}" for index in range(num_nodes))
    note(f"starting the head of '{cluster.name}'")
    head_options = (
        "--head",
        "--port=0",
        f"--ray-client-server-port={client_port}",
        f"--dashboard-port={port}",
        "--dashboard-host=127.0.0.1",
    )
    nodes.start_nodes(cluster, [head], *head_options)
    if workers:
        note(f"starting {len(workers)} more node(s)")
        gcs_address = (head / _ADDRESS_FILE).read_text().strip()
        nodes.start_nodes(cluster, workers, f"--address={gcs_address}")
    up_now = replace(cluster, address=f"http://127.0.0.1:{port}")
    return _with_nodes(up_now, [head, *workers])


def add_node(name: str = state.DEFAULT_NAME) -> LocalCluster:
    """Starts one more node, and returns when it is alive; if it does not start, nothing is left.

    Raises:
        NoSuchClusterError: there is no cluster of that name.
        ClusterError: Ray did not start; the cause is its last word.
    """
    cluster = state.find(name)
    state.check_host(cluster)
    head = Path(cluster.folder) / "n0"
    numbers = [int(folder.name[1:]) for folder in head.parent.glob("n[0-9]*")]
    folder = head.with_name(f"n{1 + max(numbers, default=0)}")
    try:
        gcs_address = (head / _ADDRESS_FILE).read_text().strip()
        nodes.start_nodes(cluster, [folder], f"--address={gcs_address}")
        return _with_nodes(cluster, [folder])
    except BaseException:
        processes.end(processes.find(folder), _GRACE_S)
        raise


def _with_nodes(cluster: LocalCluster, folders: list[Path]) -> LocalCluster:
    """The cluster with nodes that were started, once they are alive; recorded so."""
    names = {nodes.node_name(cluster.name, folder) for folder in folders}
    ids = {node.name: node.node_id for node in _wait_until_alive(cluster, names)}
    recorded = [_record(folder, cluster.name, ids) for folder in folders]
    with_nodes = replace(cluster, nodes=(*cluster.nodes, *recorded))
    state.update(with_nodes)
    return with_nodes


def _wait_until_alive(cluster: LocalCluster, names: set[str]) -> list[Node]:
    until = time.monotonic() + _READY_TIMEOUT_S
    last = "the dashboard does not answer"
    while time.monotonic() < until:
        with contextlib.suppress(ClusterError):
            found = dashboard.list_nodes(to_local(cluster))
            alive = {node.name for node in found if node.is_alive} & names
            if alive == names:
                return found
            last = f"{len(alive)} of {len(names)} nodes are alive"
        time.sleep(_LOOK_S)
    raise nodes.not_up(f"after {_READY_TIMEOUT_S:.0f} s {last}")


def _record(folder: Path, cluster_name: str, ids: dict[str, str]) -> LocalNode:
    name = nodes.node_name(cluster_name, folder)
    found = []
    for process in sorted(processes.find(folder), key=lambda one: one.pid):
        with contextlib.suppress(psutil.Error):  # a helper that has ended meanwhile
            found.append(processes.identify(process))
    return LocalNode(name, ids.get(name, ""), tuple(found))


def status(name: str = state.DEFAULT_NAME) -> tuple[LocalCluster, list[Node]]:
    """The cluster and its nodes as they are now; CPUs of a dead node as it was started with.

    Raises:
        NoSuchClusterError: there is none of that name.
        ClusterError: it does not answer.
    """
    cluster = state.find(name)
    state.check_host(cluster)
    try:
        return cluster, list(_filled(cluster, dashboard.list_nodes(to_local(cluster))))
    except (ClusterError, InputError) as error:  # its token went with its folder, or never came
        raise ClusterError(
            f"the local cluster '{name}' does not answer: {error.cause}",
            f"rnnjob cluster down {name}, then rnnjob cluster up --local --name {name}",
        ) from error


def _filled(cluster: LocalCluster, found: list[Node]) -> Iterator[Node]:
    for node in found:
        yield node if node.cpus_total else replace(node, cpus_total=float(cluster.cpus_per_node))


def down(name: str = state.DEFAULT_NAME) -> Ended:
    """Ends what `up` started and what runs below it, and removes its folder and its state.

    Raises:
        NoSuchClusterError: there is none of that name.
        ClusterError: a process cannot be ended.
    """
    cluster = state.find(name)
    state.check_host(cluster)
    return Ended(name, _end(cluster))


def _processes_of(cluster: LocalCluster) -> set[psutil.Process]:
    recorded = processes.running(cluster.processes)
    return processes.with_descendants(recorded | processes.find(Path(cluster.folder)))


def _end(cluster: LocalCluster) -> int:
    """Ends all processes, then removes the folder and the state; returns how many there were."""
    ended: set[psutil.Process] = set()
    while found := _processes_of(cluster) - ended:  # what was started while others were ended
        # While the GCS lives, raylets leave at once and take their workers with them.
        raylets = {one for one in found if _name_of(one) == "raylet"}
        left = processes.end(raylets, _GRACE_S) | processes.end(found - raylets, _GRACE_S)
        if left:
            raise ClusterError(
                f"of the local cluster '{cluster.name}' these processes cannot be ended: "
                + ", ".join(str(process.pid) for process in left),
                "end them as the user who started them, then rnnjob cluster down again",
            )
        ended |= found
    folder = Path(cluster.folder)
    if folder.name.startswith(_PREFIX):
        shutil.rmtree(folder, ignore_errors=True)
    state.remove(cluster.name)
    return len(ended)


def _name_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.name()
    return ""
