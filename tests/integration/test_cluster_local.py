"""rnnjob cluster up --local: real Ray nodes on this machine, and none of them afterwards."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from orchestrator.cluster import local_cluster
from tests.conftest import ENOUGH_S, Cli, wait_for

RAY = str(Path(sys.executable).with_name("ray"))
PLANTED = "ghp-planted-4711"
HOOK = """\
def refuse_workers(parameters, is_head):
    if not is_head:
        raise RuntimeError("no room for this node")
"""


@pytest.fixture
def cli(rnnjob: Cli, tmp_path: Path) -> Iterator[Cli]:
    """A state folder of its own; after the test nothing runs that was started with it."""
    own = {**rnnjob.environment, "RNNJOB_STATE_DIR": str(tmp_path / "state")}
    cli = replace(rnnjob, environment=own)
    yield cli
    left = started_with(cli) | of_removed_clusters(Path(cli.environment["TMPDIR"]))
    for record in records(cli):
        cli("cluster", "down", record.stem)
    assert not left, [_cmdline(process) for process in left]


def started_with(cli: Cli) -> set[psutil.Process]:
    """Told by the state folder in their environment: other tests may run on this machine."""
    return {
        process
        for process in psutil.process_iter()
        if _environ(process).get("RNNJOB_STATE_DIR") == cli.environment["RNNJOB_STATE_DIR"]
    }


def of_removed_clusters(temp_root: Path) -> set[psutil.Process]:
    """Those that wrote a title over their environment are told by their working folder, which is
    that of a node: <temp_root>/rnnjob-c-XXXX/n0."""
    start = f"{temp_root}/rnnjob-c-"
    folders = {p: Path(_cwd(p)) for p in psutil.process_iter() if _cwd(p).startswith(start)}
    depth = len(temp_root.parts) + 1
    return {p for p, folder in folders.items() if not Path(*folder.parts[:depth]).exists()}


def records(cli: Cli) -> list[Path]:
    return sorted((Path(cli.environment["RNNJOB_STATE_DIR"]) / "clusters").glob("*"))


def test_three_nodes_take_a_job_lose_one_get_another_and_leave_nothing(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNJOB_STATE_DIR", cli.environment["RNNJOB_STATE_DIR"])
    size = ("--nodes", "3", "--cpus-per-node", "1")
    up = cli("cluster", "up", "--local", *size, "--json", GITHUB_TOKEN=PLANTED)
    assert up.exit_code == 0, up.stderr
    cluster = up.json
    assert len(cluster["nodes"]) == 3
    token = Path(cluster["token_path"])
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert token.read_text() not in up.stdout + up.stderr
    assert not any(token.read_text() in " ".join(_cmdline(p)) for p in psutil.process_iter())
    assert [path.name for path in records(cli)] == ["local.json"]

    refused = cli("cluster", "up", "--local")
    assert refused.exit_code == 2
    assert "up already" in refused.cause and "cluster down" in refused.cure

    shown = cli("cluster", "status", "--json").json
    assert (shown["nodes_alive"], shown["cpus_total"], shown["cpus_free"]) == (3, 3, 3)

    code = (
        f"import os, sys; assert sys.executable == {sys.executable!r}; "
        f"assert {PLANTED!r} not in os.environ.values(); print('it ran')"
    )
    job = subprocess.run(
        [RAY, "job", "submit", "--", "python", "-c", f'"{code}"'],
        env={**cli.environment, **cluster["environment"]},
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )
    assert job.returncode == 0 and "it ran" in job.stdout, job.stdout + job.stderr

    lost = cluster["nodes"][2]
    (raylet,) = [process for process in lost["processes"] if process["name"] == "raylet"]
    os.kill(raylet["pid"], signal.SIGKILL)
    wait_for(lambda: cli("cluster", "status", "--json").json["nodes_dead"] == 1)
    table = cli("cluster", "status").stdout
    (row,) = [line for line in table.splitlines() if lost["node_id"][:12] in line]
    assert "dead" in row

    with_another = local_cluster.add_node()
    assert [node.name[-2:] for node in with_another.nodes] == ["n0", "n1", "n2", "n3"]
    assert {p.name for p in with_another.nodes[3].processes} >= {"raylet"}
    shown = cli("cluster", "status", "--json").json
    assert (shown["nodes_alive"], shown["nodes_dead"]) == (3, 1)

    before = [p for p in psutil.process_iter() if _cwd(p).startswith(cluster["folder"])]
    assert len(before) > 10
    down = cli("cluster", "down")
    assert down.exit_code == 0
    assert "processes ended" in down.stderr
    assert not [_cmdline(process) for process in before if _cmdline(process)]
    assert records(cli) == [] and not Path(cluster["folder"]).exists()


def test_a_start_that_fails_half_way_ends_what_it_started(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rnnjob_hook.py").write_text(HOOK)
    hook = {"PYTHONPATH": str(tmp_path), "RAY_START_HOOK": "rnnjob_hook.refuse_workers"}
    done = cli("cluster", "up", "--local", "--nodes", "2", **hook)
    assert (done.exit_code, done.stdout) == (3, "")
    *_, cause, cure = done.stderr.strip().splitlines()
    assert cause == "Error: ray start failed: RuntimeError: no room for this node"
    assert cure.startswith("Try: ")
    assert "Traceback" not in done.stderr
    assert records(cli) == []


def test_ctrl_c_while_it_starts_and_a_head_that_dies(cli: Cli) -> None:
    starting = cli.start("cluster", "up", "--local")
    record = wait_for(lambda: records(cli))[0]
    assert cli("cluster", "status").exit_code == 3
    assert cli("cluster", "up", "--local").exit_code == 2
    time.sleep(1)
    os.killpg(starting.pid, signal.SIGINT)
    starting.communicate(timeout=ENOUGH_S)
    assert starting.returncode == 130
    assert not record.exists()

    # One that was killed itself leaves its record, by which `down` finds what to end.
    starting = cli.start("cluster", "up", "--local")
    wait_for(lambda: records(cli))
    wait_for(lambda: any("raylet" in words for p in started_with(cli) for words in _cmdline(p)[:1]))
    starting.kill()
    starting.communicate()
    assert cli("cluster", "status").exit_code == 3
    assert cli("cluster", "down").exit_code == 0


def test_an_address_where_nothing_answers_is_exit_3_in_two_lines(cli: Cli, tmp_path: Path) -> None:
    from orchestrator.cluster.connection import Connection
    from orchestrator.cluster.dashboard import list_nodes
    from workers.errors import ClusterError

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterError, match="refused") as refused:
            list_nodes(Connection(f"http://127.0.0.1:{probe.getsockname()[1]}"))
    assert refused.value.exit_code == 3


def _cmdline(process: psutil.Process) -> list[str]:
    """Empty of one that is gone, or a zombie."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


def _cwd(process: psutil.Process) -> str:
    try:
        return process.cwd()
    except psutil.Error:
        return ""
