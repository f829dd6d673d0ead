"""A run on a cluster of real nodes, and what disturbs it: nodes that are killed, added or drained,
processes that are suspended.

Nothing here depends on how fast the machine is. Ray's tables lag behind, so what is read from them
is read again until it agrees with the run's own records.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from orchestrator.cluster import local_cluster, loopback
from tests.commands import output_of
from tests.conftest import ENOUGH_S, Cli, wait_for
from tests.integration.real_cluster import ask_json
from tests.integration.test_cluster_local import _cmdline

RAY = str(Path(sys.executable).with_name("ray"))
EPOCHS, EVERY = 12, 4
JOB = (
    "--dataset", "mnist-sample", "--epochs", str(EPOCHS), "--batch-size", "96", "--set",
    "dataset.num_shards=6", "--checkpoint-every", str(EVERY), "--set", "model.dropout=0.1",
)  # fmt: skip
STEPS = EPOCHS * 39  # 3,667 rows in six shards; a step takes 16 rows of each shard


class Actor(NamedTuple):
    """A process of Ray's, and the node on which it runs."""

    node_id: str
    process: psutil.Process


@contextlib.contextmanager
def suspended(actors: Iterable[Actor]) -> Iterator[None]:
    """Suspend processes for the time of the block. Processes that have ended are left out."""
    stopped = []
    try:
        for actor in actors:
            with contextlib.suppress(psutil.NoSuchProcess):
                actor.process.suspend()
                stopped.append(actor.process)
        yield
    finally:
        for process in stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@dataclass
class Cluster:
    cli: Cli
    content: dict[str, Any]
    """What `rnnjob cluster up --json` printed."""

    @property
    def head(self) -> str:
        return str(self.content["nodes"][0]["node_id"])

    def submit(self, run_id: str, *arguments: str) -> "Run":
        done = self.cli("submit", "--address", "local", *JOB, *arguments, "--run-id", run_id, "-d")
        assert done.exit_code == 0, done.stderr
        return Run(self, run_id)

    def status(self) -> dict[str, Any]:
        content: dict[str, Any] = self.cli("cluster", "status", "--json").json
        return content

    def actors(self, class_name: str) -> list[Actor]:
        """Return the actors of a class that are alive on nodes that are alive, as Ray reports them.

        Those on the head node come last.
        """
        alive = {node["node_id"] for node in self._table("nodes") if node["state"] == "ALIVE"}
        found = []
        for row in self._table("actors"):
            is_alive = row["state"] == "ALIVE" and row["node_id"] in alive
            if is_alive and row["class_name"].endswith(class_name):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(Actor(row["node_id"], psutil.Process(row["pid"])))
        return sorted(found, key=lambda actor: actor.node_id == self.head)

    def _table(self, name: str) -> list[dict[str, Any]]:
        answer = ask_json(self.content, f"/api/v0/{name}?detail=1&limit=1000")
        rows: list[dict[str, Any]] = answer["data"]["result"]["result"]
        return rows

    def kill_nodes(self, *node_ids: str) -> None:
        """Kill the raylets of nodes at one moment. They end like machines that lose their power."""
        raylets = [(p, _node_of_raylet(p)) for p in psutil.process_iter()]
        assert {node_id for _, node_id in raylets} >= set(node_ids)
        for raylet in (p for p, node_id in raylets if node_id in node_ids):
            with contextlib.suppress(psutil.NoSuchProcess):  # a child on its way to be a worker
                raylet.kill()

    def add_nodes(self, number: int) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RNNJOB_STATE_DIR", self.cli.environment["RNNJOB_STATE_DIR"])
            for _ in range(number):
                local_cluster.add_node()

    def drain(self, node_id: str, seconds: int) -> None:
        """Announce that a node ends soon, as a cloud does before it takes back a spot instance.

        Ray cannot refuse this. It accepts it for a node that is dead, too, without any effect.
        """
        address = Path(self.content["folder"], "n0", "ray_current_cluster").read_text().strip()
        command = [
            RAY, "drain-node", "--address", address, "--node-id", node_id,
            "--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot",
            "--deadline-remaining-seconds", str(seconds),
        ]  # fmt: skip
        # Without loopback's switch, Ray takes the address 127.0.0.1 for a mistake. It would ask the
        # network's address of this machine, where this cluster does not listen.
        own = {**self.content["environment"], **loopback.ENVIRONMENT}
        output_of(command, env={**self.cli.environment, **own})


def _node_of_raylet(process: psutil.Process) -> str:
    """Return the id of the node whose raylet this process is; an empty text if it is none."""
    words, flag = _cmdline(process), "--node_id="
    if not words or not words[0].endswith("/raylet"):
        return ""
    return next((word.removeprefix(flag) for word in words if word.startswith(flag)), "")


@dataclass
class Run:
    """A run that is disturbed: its records and its processes."""

    cluster: Cluster
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

    def has_started_again(self) -> bool:
        """Whether the workers have started since the last start that the test has waited for."""
        return len(self.records("start")) > self.starts

    def wait_for_start(self, timeout: float = ENOUGH_S) -> int:
        """Wait until the workers have started once more and have trained, and until the status says
        so. Return their number."""
        wait_for(self.has_started_again, timeout)
        self.starts += 1
        last_start = self.records("start")[-1]
        # A fault now hits in the middle of an epoch, and the steps since a checkpoint are lost.
        wait_for(lambda: self.step > last_start["step"] + EVERY, timeout)
        wait_for(lambda: self.status["attempt"] >= last_start["attempt"], timeout)
        return int(last_start["workers"])

    def workers(self) -> list[Actor]:
        """Return the workers of the present attempt, once it has started. Those on the head node
        come last."""
        number = self.records("start")[-1]["workers"]

        def settled() -> list[Actor]:
            found = self.cluster.actors("RayTrainWorker")
            # All of this attempt are in the table. Others are of an earlier one, and end.
            return found if len(found) == number else []

        workers: list[Actor] = wait_for(settled)
        return workers
