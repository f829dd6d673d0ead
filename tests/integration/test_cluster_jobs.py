"""Jobs on a real cluster of three Ray nodes, through the installed commands."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator import runs
from tests.conftest import ENOUGH_S, HANG_S, Cli, Finished, command_of, wait_for
from tests.integration.real_cluster import ask, real_cluster
from tests.integration.test_cluster_local import _cwd
from tests.listening import are_among, listening, open_to_the_network

RAY = str(Path(sys.executable).with_name("ray"))
JOB = ("--dataset", "mnist-sample", "--epochs", "1")
LONG = ("--dataset", "mnist-sample", "--epochs", "500")
SECRET = "quince-marmalade-4711"


@dataclass(frozen=True)
class Cluster:
    """A cluster that only this module uses, and the folder from which jobs are submitted to it."""

    cli: Cli
    content: dict[str, Any]

    @property
    def runs(self) -> Path:
        return self.cli.cwd / "runs"

    @property
    def elsewhere(self) -> Cli:
        """The CLI in another folder, for a user who sees the same storage."""
        folder = self.cli.cwd / "elsewhere"
        folder.mkdir(exist_ok=True)
        return Cli(folder, {**self.cli.environment, "RNNJOB_STORAGE": str(self.runs)})

    def submit(self, *arguments: str, **environment: str) -> Finished:
        return self.cli("submit", "--address", "local", *arguments, **environment)

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        return self.cli.start("submit", "--address", "local", *arguments)

    def has_trained(self, run_id: str) -> bool:
        """Whether the run has trained at least one step."""
        file = self.runs / run_id / "metrics.jsonl"
        return file.exists() and '"step"' in file.read_text()

    def ray(self, *arguments: str) -> str:
        """Run `ray job` without rnnjob, and return what it prints."""
        done = subprocess.run(
            [RAY, "job", *arguments],
            env={**self.cli.environment, **self.content["environment"]},
            capture_output=True,
            text=True,
            timeout=ENOUGH_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def get(self, path: str) -> str:
        return ask(self.content, path)


@pytest.fixture(scope="module")
def cluster(module_rnnjob: Cli) -> Iterator[Cluster]:
    with real_cluster(module_rnnjob, 3) as (cli, content):
        yield Cluster(cli, content)


@pytest.fixture(scope="module")
def detached(cluster: Cluster) -> str:
    """The id of a job that was submitted with a secret and that no client follows."""
    done = cluster.submit(
        *JOB, "--run-id", "detached", "-d", "--secret", "PASSPHRASE", PASSPHRASE=SECRET
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "detached\n", "")
    state = json.loads((cluster.runs / "detached" / "status.json").read_text())["state"]
    assert state not in runs.TERMINAL, "it waited for the job"
    return "detached"


def assert_that_only_this_machine_reaches(cluster: Cluster) -> None:
    """Look at all processes of the cluster, with a job of two workers running on it."""
    folder = cluster.content["folder"]
    sockets = listening(p for p in psutil.process_iter() if _cwd(p).startswith(folder))
    parts = ("gcs_server", "raylet", "DashboardAgent", "RuntimeEnvAgent", "RayTrainWorker")
    assert are_among(parts, sockets)
    assert not open_to_the_network(sockets)


def test_two_workers_of_a_cluster_end_with_the_weights_of_one_process(cluster: Cluster) -> None:
    attached = cluster.start(*JOB, "--workers", "2", "--run-id", "attached", "--json")
    alone = cluster.cli("submit", "--local", *JOB, "--run-id", "alone", "--json")
    stdout, stderr = attached.communicate(timeout=ENOUGH_S)
    assert attached.returncode == 0, stderr
    assert "epoch   1" in stderr
    result = json.loads(stdout)
    assert (result["state"], result["workers"], result["mode"]) == ("SUCCEEDED", 2, "cluster")
    assert result["weights_sha256"] == alone.json["weights_sha256"]

    assert "attached" in cluster.ray("list")
    wait_for(lambda: "succeeded" in cluster.ray("status", "attached").lower())
    assert "orchestrator.driver.supervisor" in cluster.ray("list")
    logs = cluster.ray("logs", "attached")
    assert "RUNNING" in logs and "epoch   1  loss " in logs and "SUCCEEDED: test accuracy" in logs

    described = cluster.cli("describe", "attached", "--json").json
    assert described["cluster"]["job"]["status"] == "SUCCEEDED"
    assert described["spec"]["training"]["epochs"] == 1
    assert {"job.yaml", "result.json", "logs"} <= set(described["files"])
    assert described["status"]["workers"] == 2
    assert "Ray Jobs: SUCCEEDED" in cluster.cli("describe", "attached").stdout
    ranks = {line["source"] for line in cluster.cli("logs", "attached", "--json").json["lines"]}
    assert ranks == {"driver", "worker-0", "worker-1"}
    only = cluster.cli("logs", "attached", "--rank", "1", "--grep", "shards [45]").stdout
    assert only.count("\n") == 1 and only.startswith("worker-1 | ")


def test_a_job_without_a_client_can_be_followed_from_elsewhere(
    cluster: Cluster, detached: str
) -> None:
    client = cluster.start(*JOB, "--run-id", "orphan")
    wait_for(lambda: (cluster.runs / "orphan" / "status.json").exists())
    wait_for(lambda: '"orphan"' in cluster.get("/api/jobs/"))
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()

    elsewhere = cluster.elsewhere
    logs = elsewhere.start("logs", "-f", detached)
    waited = elsewhere("wait", "orph", "--timeout", "2m")
    assert waited.exit_code == 0, waited.stderr
    assert waited.stdout.startswith("orphan SUCCEEDED, test accuracy ")
    assert elsewhere("wait", detached, "--json").json["state"] == "SUCCEEDED"
    stdout, _ = logs.communicate(timeout=ENOUGH_S)
    assert logs.returncode == 0
    assert "worker-0 | " in stdout and stdout.rstrip().endswith("INFO SUCCEEDED")
    assert sorted(stdout) == sorted(elsewhere("logs", detached).stdout)
    assert elsewhere("show", detached, "--json").json["result"]["state"] == "SUCCEEDED"
    assert "detached  SUCCEEDED, attempt 1, 1 worker(s)" in elsewhere("status", detached).stdout
    assert elsewhere("why", detached, "--json").json["category"] == "succeeded"
    shown = json.loads(cluster.get(f"/api/jobs/{detached}"))["metadata"]
    assert shown["rnnjob.state"] == "RUNNING", "Ray's own status says how it ended"
    assert shown["rnnjob.progress"].startswith("epoch ")
    assert shown["rnnjob.score"] in elsewhere("wait", detached).stdout


def test_a_secret_is_in_no_record(cluster: Cluster, detached: str) -> None:
    assert cluster.cli("wait", detached).exit_code == 0
    files = [path for path in (cluster.runs / detached).rglob("*") if path.is_file()]
    assert len(files) > 8
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    records = cluster.get("/api/jobs/") + cluster.get(f"/api/jobs/{detached}")
    assert f'"{detached}"' in records
    assert SECRET not in records and "PASSPHRASE" not in records
    assert SECRET not in cluster.ray("list") + cluster.ray("logs", detached)


def test_a_job_starts_in_the_folder_that_was_listed(cluster: Cluster) -> None:
    project = cluster.cli.cwd / "project"
    for name in ("train.py", "conf/a.yaml", ".env", "runs/r/status.json", "runs/r/job.yaml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)
    done = cluster.submit(*LONG, "--run-id", "in-folder", "-d", "--working-dir", str(project))
    assert done.exit_code == 0 and "left out: .env (secret)" in done.stderr, done.stderr
    wait_for(lambda: cluster.has_trained("in-folder"))
    (there,) = {
        Path(process.cwd())
        for process in psutil.process_iter()
        if {"orchestrator.driver.supervisor", str(cluster.runs / "in-folder")}
        <= set(command_of(process))
    }
    files = {str(file.relative_to(there)) for file in there.rglob("*") if file.is_file()}
    assert files == {"train.py", "conf/a.yaml"}
    assert cluster.cli("stop", "in-folder", "--force").exit_code == 0


def test_a_secret_is_in_no_file_of_ray_but_the_private_one_that_carries_it(
    cluster: Cluster, detached: str
) -> None:
    assert cluster.cli("wait", detached).exit_code == 0
    folder = Path(cluster.content["folder"])
    files = [path for path in folder.rglob("*") if path.is_file()]
    kept = [path for path in files if SECRET.encode() in path.read_bytes()]
    assert {path.name for path in files} >= {"gcs_server.out", "runtime_env_agent.log"}
    assert {path.parts[-2:] for path in kept} == {("rnnjob_secrets", "values.json")}
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_job_that_no_node_can_hold_is_explained_and_ends_in_time(cluster: Cluster) -> None:
    too_large = ("--cpus-per-worker", "4", "-d")
    limit = ("--pending-timeout", "20s")
    assert cluster.submit(*JOB, *too_large, *limit, "--run-id", "large").exit_code == 0
    # The second job has no limit: it waits for as long as the test looks at it.
    assert cluster.submit(*JOB, *too_large, "--run-id", "patient").exit_code == 0
    wait_for(lambda: cluster.cli("status", "patient", "--json").json["reason"])
    begun = time.monotonic()
    answer = cluster.elsewhere("why", "patient", "--json").json
    assert time.monotonic() - begun < HANG_S
    assert answer["category"] == "infeasible"
    assert answer["cause"] == "a worker needs 4 CPU, the largest of 3 node(s) has 1 CPU"
    assert answer["next"].startswith(f"rnnjob stop patient --storage {cluster.runs}")
    assert cluster.cli("delete", "patient", "-y").exit_code == 2
    assert cluster.cli("stop", "patient").exit_code == 0
    assert cluster.cli("wait", "patient").exit_code == 5

    ended = cluster.cli("wait", "large", "--timeout", "5m")
    assert ended.exit_code == 6
    assert "within 20s" in ended.cause and "--cpus-per-worker" in ended.cure
    assert cluster.cli("why", "large", "--json").json["category"] == "infeasible"
    wait_for(lambda: cluster.cli("cluster", "status", "--json").json["cpus_free"] == 3)

    assert "no terminal to ask on" in cluster.cli("delete", "large").cause
    removed = cluster.cli("delete", "large", "--yes")
    assert (removed.exit_code, removed.stdout) == (0, "")
    assert str(cluster.runs / "large") in removed.stderr and "files, " in removed.stderr
    assert not (cluster.runs / "large").exists()
    assert '"large"' not in cluster.get("/api/jobs/")
    assert cluster.cli("status", "large").exit_code == 4


def test_ctrl_c_leaves_a_job_that_stop_then_ends_with_a_checkpoint(cluster: Cluster) -> None:
    client = cluster.start(*LONG, "--workers", "2", "--run-id", "left")
    wait_for(lambda: cluster.has_trained("left"))
    assert_that_only_this_machine_reaches(cluster)
    waiting = cluster.submit(*JOB, "--workers", "2", "--run-id", "behind", "-d")
    assert waiting.exit_code == 0
    os.killpg(client.pid, signal.SIGINT)
    _, stderr = client.communicate(timeout=ENOUGH_S)
    assert client.returncode == 130
    assert "the job goes on" in stderr and "rnnjob wait left" in stderr
    assert cluster.cli("status", "left", "--json").json["state"] == "RUNNING"
    assert cluster.cli("why", "left", "--json").json["category"] == "running"
    timed_out = cluster.cli("wait", "left", "--timeout", "1s")
    assert timed_out.exit_code == 124
    assert "left is still RUNNING after 1s; the wait ended, the job goes on" in timed_out.cause

    wait_for(lambda: cluster.cli("status", "behind", "--json").json["reason"])
    answer = cluster.cli("why", "behind", "--json").json
    assert (answer["category"], answer["cause"]) == ("waiting", "it waits for left")
    assert any("left (RUNNING) holds 2 CPU" in line for line in answer["evidence"])
    forced = cluster.cli("stop", "behind", "--force", "--json")
    assert forced.json["state"] == "STOPPED", forced.stderr
    assert cluster.cli("wait", "behind").exit_code == 5

    cluster.ray("stop", "left", "--no-wait")  # Ray ends a job by sending SIGTERM to its process
    stopped = cluster.cli("wait", "left", "--timeout", "60s")
    assert stopped.exit_code == 5
    assert "left STOPPED: terminated by SIGTERM" in stopped.cause
    assert "rnnjob resume left" in stopped.cure
    assert list((cluster.runs / "left" / "checkpoints").glob("step-*/manifest.json"))
    assert cluster.cli("stop", "left").exit_code == 2


@pytest.mark.long
def test_repeats_run_side_by_side_as_far_as_they_fit(cluster: Cluster) -> None:
    """Four jobs of one worker on three CPUs: the fourth starts when one of the others has ended."""
    small = ("--dataset", "mnist-sample", "--set", "training.steps=4", "--json")
    done = cluster.submit("--workers", "1", "--seeds", "4", "--run-id", "many", *small)
    assert done.exit_code == 0, done.stderr
    assert [run["state"] for run in done.json["runs"]] == [runs.SUCCEEDED] * 4
    lines = [line for line in done.stderr.splitlines() if line.startswith(("run many", "many-"))]
    assert [line.startswith("run ") for line in lines[:4]] == [True, True, True, False]
    here = cluster.cli("submit", "--local", "--run-id", "here", "--seed", "2", *small)
    assert here.json["weights_sha256"] == done.json["runs"][2]["weights_sha256"]
    assert cluster.cli("compare", "many", "--json").json["mean"] == done.json["mean"]


def test_more_workers_than_fit_are_not_measured_and_none_before_them(cluster: Cluster) -> None:
    before = sorted(cluster.runs.glob("*"))
    done = cluster.cli("scaling", "--address", "local", "--workers", "1,4", *JOB[:2])
    assert done.exit_code == 6
    assert "4 workers need 1 CPU each, the 3 node(s) have room for 3" in done.cause
    assert "leave 4 out of --workers" in done.cure
    assert sorted(cluster.runs.glob("*")) == before


def test_a_cluster_that_cannot_be_used_is_reported_in_two_lines(
    cluster: Cluster, tmp_path: Path
) -> None:
    url = cluster.content["address"]
    stranger = Cli(
        tmp_path,
        {**cluster.cli.environment, "HOME": str(tmp_path), "RNNJOB_STATE_DIR": str(tmp_path)},
    )
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        cases = {
            "refuses the token": (url, {"RAY_AUTH_TOKEN": "0" * 64}),
            "asks for a token": (url, {}),
            "Connection refused": (f"http://127.0.0.1:{closed.getsockname()[1]}", {}),
            "no cluster answers at http://no-such-host.invalid": ("no-such-host.invalid", {}),
            "no cluster answers at http://unknown-name": ("unknown-name", {}),
            "is the address of Ray's GCS": ("127.0.0.1:6379", {}),
        }
        begun = time.monotonic()
        started = {
            cause: stranger.start("submit", "--address", address, *JOB, **environment)
            for cause, (address, environment) in cases.items()
        }
        for cause, process in started.items():
            stdout, stderr = process.communicate(timeout=ENOUGH_S)
            done = Finished(process.returncode, stdout, stderr)
            assert cause in done.cause and done.cure
            assert done.exit_code == (2 if "GCS" in cause else 3)
        assert time.monotonic() - begun < HANG_S
    assert not (tmp_path / "runs").exists()


def test_runs_can_still_be_read_when_the_cluster_is_gone(cluster: Cluster, detached: str) -> None:
    assert cluster.submit(*LONG, "--run-id", "doomed", "-d").exit_code == 0
    wait_for(lambda: (cluster.runs / "doomed" / "logs" / "driver.log").exists())
    assert cluster.cli("cluster", "down").exit_code == 0
    elsewhere = cluster.elsewhere
    states = {run["run_id"]: run["state"] for run in elsewhere("list", "--json").json["runs"]}
    assert states[detached] == "SUCCEEDED"
    assert "SUCCEEDED" in elsewhere("show", detached).stdout
    assert "worker-0 | " in elsewhere("logs", detached).stdout
    described = elsewhere("describe", detached, "--json").json
    assert described["cluster"]["reachable"] is False and described["cluster"]["refusal"]

    assert elsewhere("wait", "doomed", "--timeout", "5m").exit_code in (1, 5)
    begun = time.monotonic()
    answer = elsewhere("why", "doomed", "--json").json
    assert time.monotonic() - begun < HANG_S
    assert answer["category"] in ("driver-died", "stopped", "worker-lost"), answer
    assert elsewhere("delete", "doomed", "-y").exit_code == 0
