"""The nodes of a local cluster: each is one `ray start` with its own folder."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

from orchestrator.cluster import local_processes, ray_command
from orchestrator.cluster.local_registry import LocalCluster
from workers.errors import ClusterError

START_LOG = "start.log"
_TMP = "tmp"
_OBJECT_STORE_BYTES = 256 * 2**20
_START_TIMEOUT_S = 120.0

# They belong to another cluster, and a token in the environment would win over the token's file.
_NOT_INHERITED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN")
_DEFAULTS = {
    # Ray then notices a dead node in seconds, not in half a minute.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    # The older autoscaler counts nodes by their IP address, which these nodes share.
    "RAY_enable_autoscaler_v2": "1",
}


def free_ports(num_ports: int) -> list[int]:
    """Return different free ports of this machine."""
    with contextlib.ExitStack() as stack:  # all are held until all are chosen, so they differ
        probes = [stack.enter_context(socket.socket()) for _ in range(num_ports)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


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
    (folder / _TMP).mkdir(parents=True)
    command = [
        *ray_command.COMMAND,
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


def node_environment(folder: Path, token_path: Path) -> dict[str, str]:
    """Return this process's environment with the variables that a node and its jobs need."""
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {
        **_DEFAULTS,
        **inherited,
        "PATH": ray_command.path_with_this_python(os.environ.get("PATH", "")),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "TMPDIR": str(folder / _TMP),  # Ray puts sockets there, so each node needs its own
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # with it, Ray would hang under `uv run`
        local_processes.MARK: str(folder),
    }


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
