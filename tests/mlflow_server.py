"""A real MLflow server on this machine, over SQLite, and what it was sent."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import GONE_S, wait_for

_PORTS = 3
"""How many free ports are tried."""


@dataclass(frozen=True)
class MlflowServer:
    uri: str
    artifacts: Path

    def runs(self, run_id: str) -> list[Any]:
        """Return all runs of this name, each with its info and data."""
        named = f"attributes.run_name = '{run_id}'"
        experiments = self.ask("experiments/search", max_results=100)["experiments"]
        ids = [experiment["experiment_id"] for experiment in experiments]
        found: list[Any] = self.ask("runs/search", experiment_ids=ids, filter=named).get("runs", [])
        return found

    def run(self, run_id: str) -> Any:
        """Return the only run of this name."""
        (found,) = self.runs(run_id)
        return found

    def tags(self, run_id: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.run(run_id)["data"]["tags"]}

    def parameters(self, run_id: str) -> dict[str, str]:
        return {param["key"]: param["value"] for param in self.run(run_id)["data"]["params"]}

    def points(self, run_id: str, name: str) -> list[tuple[int, float]]:
        """Return all that was sent of a metric, in the order of its steps."""
        about = f"run_id={self.run(run_id)['info']['run_id']}&metric_key={name}"
        history = self.ask(f"metrics/get-history?{about}").get("metrics", [])
        return sorted((int(point["step"]), point["value"]) for point in history)

    def files(self, run_id: str) -> set[str]:
        """Return the paths of what was uploaded."""
        run = self.run(run_id)["info"]
        folder = self.artifacts / run["experiment_id"] / run["run_id"] / "artifacts"
        return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}

    def ask(self, endpoint: str, **body: Any) -> Any:
        url = f"{self.uri}/api/2.0/mlflow/{endpoint}"
        data = json.dumps(body).encode() if body else None
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)


def free_port() -> int:
    """Return a port of the loopback interface on which nothing listens now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[MlflowServer]:
    """Start a server, and end it. It is skipped where the packages of a server are missing.

    `port`: where it listens; by default where nobody else does. That is looked for again if another
    process was faster, such as one of another test's Ray.
    """
    for package in ("mlflow", "sqlalchemy", "alembic", "flask"):
        pytest.importorskip(package, reason=f"an MLflow server needs the package {package}")
    for _ in range(1 if port else _PORTS):
        server, process = _start(folder, port or free_port())
        if _comes_up(server, process):
            break
    try:
        assert process.poll() is None, (folder / "server.log").read_text()
        yield server
    finally:
        _end(process)


def _comes_up(server: MlflowServer, process: "subprocess.Popen[bytes]") -> bool:
    """Wait until a server answers or has ended. Return whether it has not."""
    wait_for(lambda: process.poll() is not None or _answers(server.uri))
    return process.poll() is None


def _start(folder: Path, port: int) -> "tuple[MlflowServer, subprocess.Popen[bytes]]":
    server = MlflowServer(f"http://127.0.0.1:{port}", folder / "artifacts")
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(server.artifacts),
    ]  # fmt: skip
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **settings},
            stdout=log,
            stderr=log,
        )
    return server, process


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the server, and the processes that it has started."""
    with contextlib.suppress(psutil.NoSuchProcess):
        own = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, left = psutil.wait_procs(own, GONE_S)
        for each in left:
            each.kill()
    process.kill()
    process.wait()


def _answers(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError, http.client.HTTPException):  # or another server's
        return False
