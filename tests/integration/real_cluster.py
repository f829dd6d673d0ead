"""A cluster of real Ray nodes on this machine for a test, of which nothing is left afterwards."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from tests.conftest import ENOUGH_S, Cli
from tests.integration.test_cluster_local import _cmdline, _cwd, started_with


@contextmanager
def real_cluster(
    cli: Cli, num_nodes: int, cpus_per_node: int = 1
) -> Iterator[tuple[Cli, dict[str, Any]]]:
    """Nodes of so many CPUs; the commands with a state folder of its own, and what `up` told."""
    state = str(cli.cwd / "state")
    cli = replace(cli, environment={**cli.environment, "RNNJOB_STATE_DIR": state})
    size = ("--nodes", str(num_nodes), "--cpus-per-node", str(cpus_per_node))
    up = cli("cluster", "up", "--local", *size, "--json")
    assert up.exit_code == 0, up.stderr
    folder = up.json["folder"]
    try:
        yield cli, up.json
    finally:
        cli("cluster", "down")
    left = {p for p in psutil.process_iter() if _cwd(p).startswith(folder)} | started_with(cli)
    assert not left, [_cmdline(process) for process in left]


def ask(cluster: dict[str, Any], path: str) -> str:
    """What its dashboard says at a path, without anything of rnnjob."""
    token = Path(cluster["token_path"]).read_text().strip()
    request = urllib.request.Request(
        cluster["address"] + path, headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request, timeout=ENOUGH_S) as reply:
        text: str = reply.read().decode()
        return text


def ask_json(cluster: dict[str, Any], path: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(ask(cluster, path))
    return content
