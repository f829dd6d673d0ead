"""The nodes of a local cluster: each a `ray start` with a folder of its own."""

import contextlib
import os
import socket
import subprocess
from pathlib import Path

from orchestrator.cluster import processes, ray_command
from orchestrator.cluster.state import LocalCluster
from workers.errors import ClusterError

START_LOG = "start.log"
_TMP = "tmp"
_OBJECT_STORE_BYTES = 256 * 2**20
_START_TIMEOUT_S = 120.0

# Of another cluster, and a token in the environment would win over the file.
_NOT_INHERITED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN")
_DEFAULTS = {
    # A dead node is told in seconds, not half a minute.
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    # The older autoscaler counts by IP address, which these nodes share.
    "RAY_enable_autoscaler_v2": "1",
}


def free_ports(num_ports: int) -> list[int]:
    """Different ones: all are held until all are chosen."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(num_ports)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def start_nodes(cluster: LocalCluster, folders: list[Path], *options: str) -> None:
    """As many at once as there are CPUs: `ray start` is one or two busy ones itself."""
    at_once = os.cpu_count() or 1
    for first in range(0, len(folders), at_once):
        batch = folders[first : first + at_once]
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
        # Ports the system chooses: in Ray's fixed ranges the nodes would take each other's.
        "--min-worker-port=0",
        "--max-worker-port=0",
        "--dashboard-agent-listen-port=0",
        "--disable-usage-stats",
    ]
    with open(folder / START_LOG, "wb") as log:  # no pipe: the daemons would hold it open
        return subprocess.Popen(
            command,
            cwd=folder,  # a `ray.py` in the caller's folder must not be imported
            env=node_environment(folder, Path(cluster.token_path)),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle
        )


def node_name(cluster_name: str, folder: Path) -> str:
    return f"{cluster_name}-{folder.name}"


def node_environment(folder: Path, token_path: Path) -> dict[str, str]:
    """This environment, with what a node and the jobs on it need."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return {
        **_DEFAULTS,
        **kept,
        "PATH": ray_command.path_with_this_python(os.environ.get("PATH", "")),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_path),
        "TMPDIR": str(folder / _TMP),  # Ray leaves sockets in it, and nodes share no folder
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # under `uv run` it would hang
        processes.MARK: str(folder),
    }


def _wait_for_start(folder: Path, process: "subprocess.Popen[bytes]") -> None:
    try:
        exit_code = process.wait(_START_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.wait()
        raise not_up(f"ray start took more than {_START_TIMEOUT_S:.0f} s") from error
    if exit_code:
        said = ray_command.last_useful_line((folder / START_LOG).read_text(errors="replace"))
        raise not_up(f"ray start failed: {said or f'exit code {exit_code}'}")


def not_up(cause: str) -> ClusterError:
    return ClusterError(
        cause,
        "mend that and try again; rnnjob cluster up --local --verbose shows all that Ray said",
    )
