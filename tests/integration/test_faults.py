"""Faults on a cluster of three real nodes. Each run ends with the weights of an undisturbed run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.cluster import local_cluster
from tests.conftest import ENOUGH_S, Cli, Finished, wait_for
from tests.integration.real_cluster import ask_json, real_cluster
from tests.integration.test_cluster_local import _cmdline

pytestmark = pytest.mark.long
RAY = str(Path(sys.executable).with_name("ray"))
EPOCHS, EVERY = 12, 4
JOB = (
    "--dataset", "mnist-sample", "--epochs", str(EPOCHS), "--batch-size", "96", "--set",
    "dataset.num_shards=6", "--checkpoint-every", str(EVERY), "--set", "model.dropout=0.1",
)  # fmt: skip
STEPS = EPOCHS * 39  # 3,667 rows in six shards; a step takes 16 rows of each shard


@dataclass
class Run:
    """A run that is disturbed: its records and its processes."""

    cluster: "Cluster"
    run_id: str
    starts: int = 0
    """How many starts of the workers the test has waited for."""

    @property
    def folder(self) -> Path:
        return self.cluster.cli.cwd / "runs" / self.run_id

    def records(self, kind: str) -> list[dict[str, Any]]:
        try:
            lines = (self.folder / "metrics.jsonl").read_text().splitlines()
        except FileNotFoundError:
            return []
        found = [json.loads(line) for line in lines if line.endswith("}")]
        return [record for record in found if record["kind"] == kind]

    @property
    def step(self) -> int:
        return max((record["step"] for record in self.records("step")), default=0)

    @property
    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        return content

    def failures(self) -> list[dict[str, Any]]:
        file = self.folder / "failures.jsonl"
        return [json.loads(line) for line in file.open()] if file.exists() else []

    def wait_for_start(self, timeout: float = ENOUGH_S) -> int:
        """Wait until the workers have started once more and have trained. Return their number."""
        self.starts += 1
        wait_for(lambda: len(self.records("start")) >= self.starts, timeout)
        last_start = self.records("start")[-1]
        # A fault now hits in the middle of an epoch, and the steps since a checkpoint are lost.
        wait_for(lambda: self.step > last_start["step"] + EVERY, timeout)
        return int(last_start["workers"])

    def workers(self) -> list[tuple[str, psutil.Process]]:
        """Return node id and process of each live worker. Workers on the head node come last."""
        path = "/api/v0/actors?detail=1&limit=1000"
        actors = ask_json(self.cluster.content, path)["data"]["result"]["result"]
        found = [
            (actor["node_id"], psutil.Process(actor["pid"]))
            for actor in actors
            if actor["state"] == "ALIVE" and actor["class_name"].endswith("RayTrainWorker")
        ]
        return sorted(found, key=lambda worker: worker[0] == self.cluster.head)

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Suspend the workers, so that the job does not end before Ray notices changed nodes."""
        stopped = [process for _, process in self.workers()]
        for process in stopped:
            process.suspend()
        yield
        for process in stopped:
            if process.is_running():
                process.resume()


@dataclass
class Cluster:
    cli: Cli
    content: dict[str, Any]
    weights: dict[str, Any] = field(default_factory=dict)

    @property
    def head(self) -> str:
        return str(self.content["nodes"][0]["node_id"])

    def submit(self, run_id: str, *arguments: str) -> Run:
        done = self.cli("submit", "--address", "local", *JOB, *arguments, "--run-id", run_id, "-d")
        assert done.exit_code == 0, done.stderr
        return Run(self, run_id)

    def kill_node(self, node_id: str) -> None:
        """Kill the raylet of a node. The node ends like a machine that loses its power."""
        nodes = self.status()["nodes"]
        name = next(node["name"] for node in nodes if node["node_id"] == node_id)
        folder = Path(self.content["folder"]) / name.rpartition("-")[2]
        raylets = [p for p in psutil.process_iter() if _is_raylet_of(p, folder)]
        assert raylets, name
        for raylet in raylets:
            raylet.kill()

    def add_nodes(self, number: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RNNJOB_STATE_DIR", self.cli.environment["RNNJOB_STATE_DIR"])
            for _ in range(number):
                local_cluster.add_node()

    def drain(self, node_id: str, seconds: int) -> None:
        """Announce that a node ends soon, as a cloud does before it takes back a spot instance."""
        address = Path(self.content["folder"], "n0", "ray_current_cluster").read_text().strip()
        subprocess.run(
            [
                RAY, "drain-node", "--address", address, "--node-id", node_id,
                "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
                "--deadline-remaining-seconds", str(seconds),
            ],
            env={**self.cli.environment, **self.content["environment"]}, check=True,
            capture_output=True, timeout=ENOUGH_S,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = self.cli("cluster", "status", "--json").json
        return content


def _is_raylet_of(process: psutil.Process, folder: Path) -> bool:
    words = _cmdline(process)
    return bool(words) and words[0].endswith("/raylet") and any(f"{folder}/" in w for w in words)


@pytest.fixture(scope="module")
def cluster(module_rnnjob: Cli) -> Iterator[Cluster]:
    with real_cluster(module_rnnjob, 3) as (cli, content):
        yield Cluster(cli, content)


@pytest.fixture(scope="module")
def undisturbed(cluster: Cluster) -> Finished:
    done = cluster.cli("submit", "--local", *JOB, "--run-id", "undisturbed", "--json")
    assert (done.exit_code, done.json["steps"]) == (0, STEPS), done.stderr
    return done


def check(run: Run, undisturbed: Finished) -> dict[str, Any]:
    """Check that a run ended with the result of the undisturbed run. Return its result."""
    waited = run.cluster.cli("wait", run.run_id, "--json", "--timeout", "10m")
    assert waited.exit_code == 0, waited.stderr
    result: dict[str, Any] = waited.json
    assert result["weights_sha256"] == undisturbed.json["weights_sha256"]
    assert result["test_loss"] == undisturbed.json["test_loss"]
    assert [step["step"] for step in run.records("step")] == list(range(1, STEPS + 1))
    assert [epoch["rows_seen"] for epoch in result["data_account"]] == [3667] * EPOCHS
    for phase in result["phases"]:
        # A checkpoint may still be in progress during the steps after it.
        assert phase["repeated_steps"] <= 2 * EVERY
    assert sum(phase["steps"] for phase in result["phases"]) == STEPS
    return result


def test_nodes_join_die_and_are_preempted(cluster: Cluster, undisturbed: Finished) -> None:
    run = cluster.submit("elastic", "--workers", "1:3", "--set", "scaling.resize_interval=1s")
    assert run.wait_for_start() == 3
    for node_id, _ in run.workers()[:2]:
        cluster.kill_node(node_id)
    assert run.wait_for_start() == 1

    with run.suspended():
        cluster.add_nodes(2)
        wait_for(lambda: len(run.records("start")) > run.starts)
    assert run.wait_for_start() == 3
    assert run.status["reason"] == "resized from 1 to 3 workers"

    node_id, _ = run.workers()[0]
    cluster.drain(node_id, seconds=8)
    wait_for(lambda: len(run.failures()) == 2)
    with run.suspended():
        wait_for(lambda: run.status["state"] == "RESTARTING")
        cluster.kill_node(node_id)  # its deadline has passed
        wait_for(lambda: len(run.records("start")) > run.starts)
    run.wait_for_start()
    assert "is taken away" in run.status["reason"]
    result = check(run, undisturbed)
    assert [phase["workers"] for phase in result["phases"]][:3] == [3, 1, 3]
    failures = run.failures()
    assert failures[-1]["kind"] == "preemption" and failures[-1]["deadline"] > 0
    described = cluster.cli("describe", "elastic").stdout
    assert "elastic  SUCCEEDED" in described


def test_a_worker_a_node_and_the_driver_are_killed(cluster: Cluster, undisturbed: Finished) -> None:
    # This test comes after the elastic one: Ray holds the resources that a lost driver asked for
    # three more minutes.
    cluster.add_nodes(3 - cluster.status()["nodes_alive"])
    run = cluster.submit("killed", "--workers", "2")
    run.wait_for_start()
    run.workers()[0][1].kill()
    run.wait_for_start()
    cluster.kill_node(run.workers()[0][0])  # the third node takes its place
    run.wait_for_start()
    driver = psutil.Process(run.status["pid"])
    assert "orchestrator.driver" in driver.cmdline()
    driver.kill()
    wait_for(lambda: run.status["state"] == "RESTARTING")
    assert cluster.cli("why", "killed").stdout
    run.wait_for_start()
    assert run.status["reason"] == "restarted: the driver was killed by SIGKILL"
    result = check(run, undisturbed)
    assert [phase["workers"] for phase in result["phases"]] == [2] * 4
    failures = run.failures()
    assert [failure["kind"] for failure in failures] == ["worker", "worker", "driver"]
    assert not (run.folder / ".ray-train").exists()


def test_a_run_goes_on_on_another_cluster(cluster: Cluster, undisturbed: Finished) -> None:
    """This is the last test of the module, because it ends the cluster."""
    run = cluster.submit("moved", "--workers", "2")
    run.wait_for_start()
    raylets = [node for node in cluster.status()["nodes"] if node["is_head"]]
    cluster.kill_node(raylets[0]["node_id"])
    os.kill(_gcs_of(cluster), signal.SIGKILL)
    assert cluster.cli("cluster", "down").exit_code == 0
    ended = cluster.cli("wait", "moved", "--timeout", "5m")
    assert ended.exit_code in (1, 5), ended.stderr
    again = cluster.cli("resume", "moved", "--local", "--json")
    assert again.exit_code == 0, again.stderr
    check(run, undisturbed)


def _gcs_of(cluster: Cluster) -> int:
    (gcs,) = [
        process["pid"]
        for process in cluster.content["nodes"][0]["processes"]
        if process["name"] == "gcs_server"
    ]
    return int(gcs)
