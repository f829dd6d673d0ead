"""The nodes of a local cluster: each is one `ray start` with its own folder."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from orchestrator.cluster import loopback, ray_command
from orchestrator.cluster.local_registry import LocalCluster
from orchestrator.cluster.node_environment import TMP, node_environment
from workers.errors import ClusterError

START_LOG = "start.log"
_RAY = (sys.executable, "-m", "orchestrator.cluster.loopback")
_OBJECT_STORE_BYTES = 256 * 2**20
_START_TIMEOUT_S = 120.0


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as probe:
        probe.bind((loopback.ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def start_nodes(cluster: LocalCluster, folders: list[Path], *options: str) -> None:
    """Start one node per folder, and return once every `ray start` has ended.

    Raises ClusterError if one of them fails or takes too long.
    """
    # `ray start` keeps one or two CPUs busy.
    batch_size = os.cpu_count() or 1
    for first in range(0, len(folders), batch_size):
        batch = folders[first : first + batch_size]
        started = [(folder, _start_node(cluster, folder, options)) for folder in batch]
        for folder, process in started:
            _wait_for_start(folder, process)


def _start_node(
    cluster: LocalCluster, folder: Path, options: tuple[str, ...]
) -> "subprocess.Popen[bytes]":
    (folder / TMP).mkdir(parents=True)
    command = [
        *_RAY,
        "start",
        *options,
        f"--node-name={node_name(cluster.name, folder)}",
        f"--num-cpus={cluster.cpus_per_node}",
        f"--object-store-memory={_OBJECT_STORE_BYTES}",
        f"--temp-dir={folder}",
        # The system chooses the ports: with Ray's fixed ranges, the nodes would collide.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        "--disable-usage-stats",
    ]
    with open(folder / START_LOG, "wb") as log:  # the daemons would keep a pipe open
        return subprocess.Popen(
            command,
            cwd=folder,  # otherwise a `ray.py` in the caller's folder would be imported
            env=node_environment(folder, Path(cluster.token_path)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C must reach only this process, which ends the nodes
        )


def node_name(cluster_name: str, folder: Path) -> str:
    return f"{cluster_name}-{folder.name}"


def _wait_for_start(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    try:
        exit_code = process.wait(_START_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise start_failed(f"ray start took more than {_START_TIMEOUT_S:.0f} s") from error
    if exit_code:
        why = ray_command.last_useful_line((folder / START_LOG).read_text(errors="replace"))
        raise start_failed(f"ray start failed: {why or f'exit code {exit_code}'}")


def start_failed(cause: str) -> ClusterError:
    """Return the error for a node that did not start."""
    return ClusterError(
        cause,
        "fix this and try again; rnnjob cluster up --local --verbose shows Ray's whole output",
    )
