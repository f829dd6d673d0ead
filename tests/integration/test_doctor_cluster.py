"""The command `rnnjob doctor` on a real cluster of two Ray nodes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ENOUGH_S, Cli
from tests.integration.real_cluster import ask, real_cluster

DOCTOR = ("doctor", "--dataset", "mnist-sample", "--json")
NODE_CHECKS = ("answer", "storage", "data", "packages", "gpus", "nccl", "disk", "memory")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def nodes(module_rnnjob: Cli) -> Iterator[tuple[Cli, dict[str, Any]]]:
    with real_cluster(module_rnnjob, 2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def cli(nodes: tuple[Cli, dict[str, Any]]) -> Cli:
    return nodes[0]


@pytest.fixture(scope="module")
def cluster(nodes: tuple[Cli, dict[str, Any]]) -> dict[str, Any]:
    """The document that `rnnjob cluster up --json` printed."""
    return nodes[1]


def jobs(cluster: dict[str, Any]) -> list[Any]:
    """Return all jobs of which the cluster has a record."""
    found: list[Any] = json.loads(ask(cluster, "/api/jobs/"))
    return found


def checks(document: Any) -> dict[str, dict[str, str]]:
    return {check["name"]: check for check in document["checks"]}


def test_each_node_is_checked_and_nothing_remains(cli: Cli, cluster: dict[str, Any]) -> None:
    done = cli(*DOCTOR, "--address", "local")
    assert done.exit_code == 0, done.stdout
    found = checks(done.json)
    for name in NODE_CHECKS:
        check = found[f"nodes: {name}"]
        assert check["state"] == "ok"
        assert check["detail"].startswith("driver and all 2 nodes: "), check
    assert f"ray {cluster['ray_version']}, " in found["nodes: packages"]["detail"]
    assert not (cli.cwd / "runs").exists()
    assert jobs(cluster) == []


def test_a_node_that_cannot_write_and_storage_that_is_not_shared_fail(
    cli: Cli, cluster: dict[str, Any]
) -> None:
    # This path names another folder in each process. On the second node, a file is in its place.
    unshared = "/proc/self/cwd/there/runs"
    (Path(cluster["folder"]) / "n1" / "there").write_text("in the way")
    stranger = cli.start(*DOCTOR, "--address", cluster["address"], RAY_AUTH_TOKEN="0" * 64)
    done = cli(*DOCTOR, "--storage", unshared, RAY_API_SERVER_ADDRESS=cluster["address"])
    assert done.exit_code == 1
    found = checks(done.json)
    assert {name for name, check in found.items() if check["state"] == "fail"} == {
        "node local-n1: storage",
        "node local-n1: data",
        "nodes: data",
    }
    assert found["storage"]["state"] == "ok"
    assert "Not a directory" in found["node local-n1: storage"]["detail"]
    assert "choose another one with --storage" in found["node local-n1: storage"]["cure"]
    assert found["nodes: storage"]["detail"].startswith("driver and 1 of 2 nodes: ")
    assert "is not there" in found["nodes: data"]["detail"]
    assert "all nodes see" in found["nodes: data"]["cure"]
    assert [path.name for path in Path(cluster["folder"]).glob("n*/there")] == ["there"]
    assert not (cli.cwd / "there").exists()

    stdout, _ = stranger.communicate(timeout=ENOUGH_S)
    assert stranger.returncode == 1
    refused = checks(json.loads(stdout))
    assert "refuses the token" in refused["cluster"]["detail"]
    assert not [name for name in refused if name.startswith("node")]
    assert jobs(cluster) == []


def test_no_probe_asks_the_cluster_and_runs_nothing(cli: Cli, cluster: dict[str, Any]) -> None:
    done = cli(*DOCTOR, "--address", "local", "--no-probe")
    assert done.exit_code == 0
    names = checks(done.json)
    assert "2 nodes, 2 CPUs" in names["cluster nodes"]["detail"]
    assert not [name for name in names if name.startswith("node")]
