"""Jobs and starting nodes as a dashboard reports them, and the states that follow from them."""

import http.server
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.client import Client
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import RayJob, Scaling, find_job, parse_scaling, scaling
from orchestrator.observe.endings import record_death, record_given_up
from orchestrator.spec.job_spec import JobSpec
from workers import secrets
from workers.errors import ClusterError, InputError, WaitTimeoutError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

STATUS = """\
======== Autoscaler status: 2026-11-23 15:44:13.411335 ========
GCS request time: 0.001s
Node status
---------------------------------------------------------------
Active:
 1 node_961d8d02
Idle:
 (no idle nodes)
Pending:
 gpu_worker, 2 launching
 10.0.0.7: gpu_worker, setting-up
Recent failures:
 gpu_worker: LaunchFailed (latest_attempt: 12:00:00) - quota

Resources
---------------------------------------------------------------
Total Usage:
 0.0/3.0 CPU
"""


class Dashboard:
    """A server that sends one reply per path, and 404 for every other path."""

    def __init__(self) -> None:
        self.replies: dict[str, object] = {}
        served = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                known = self.path in served.replies
                self.send_response(200 if known else 404)
                self.end_headers()
                self.wfile.write(json.dumps(served.replies.get(self.path, "no")).encode())

            def log_message(self, format: str, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set_job(self, status: str, **more: object) -> None:
        """Set what the dashboard reports about job `r`."""
        job = {"status": status, **more}
        self.replies["/api/jobs/r"] = job
        self.replies["/api/jobs/"] = [{"submission_id": "r", **job}]


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    dashboard = Dashboard()
    yield dashboard
    dashboard.server.shutdown()
    dashboard.server.server_close()


@pytest.fixture
def run(tmp_path: Path, dashboard: Dashboard) -> RunFolder:
    storage = Storage(str(tmp_path / "runs"))
    return runs.create_run(storage, "r", JobSpec().to_yaml(), "cluster", dashboard.address)


@pytest.fixture
def client(run: RunFolder, dashboard: Dashboard) -> Client:
    return Client(str(Path(run.storage.uri).parent), dashboard.address)


def change(run: RunFolder, **values: object) -> None:
    run.write_json(run.STATUS, {**runs.read_status(run).to_json(), **values})


def test_a_job_is_found_by_its_id_and_an_unknown_id_finds_none(dashboard: Dashboard) -> None:
    connection = Connection(dashboard.address)
    dashboard.set_job("FAILED", message="m", error_type="E", driver_exit_code=3, start_time=1)
    assert find_job(connection, "r") == RayJob("FAILED", "m", "E", 3)
    dashboard.set_job("PENDING", message=None, error_type=None, driver_exit_code=None)
    assert find_job(connection, "r") == RayJob("PENDING")
    assert find_job(connection, "other") is None


def test_starting_nodes_are_read_from_the_output_of_ray_status(dashboard: Dashboard) -> None:
    expected = Scaling(
        ("gpu_worker, 2 launching", "10.0.0.7: gpu_worker, setting-up"),
        ("gpu_worker: LaunchFailed (latest_attempt: 12:00:00) - quota",),
        ("node_961d8d02",),
    )
    assert parse_scaling(STATUS) == expected
    assert not expected.is_impossible, "something starts nodes"
    assert Scaling(node_types=("node_961d8d02", "node_0a")).is_impossible
    assert not Scaling(node_types=("node_961d8d02", "gpu_worker")).is_impossible
    assert not Scaling().is_impossible, "nothing is known"
    quiet = STATUS.replace("gpu_worker, 2 launching", "(no pending nodes)")
    assert parse_scaling(quiet).starting == ("10.0.0.7: gpu_worker, setting-up",)
    assert parse_scaling("") == Scaling()
    path = "/api/cluster_status?format=1"
    dashboard.replies[path] = {"data": {"clusterStatus": STATUS}}
    assert scaling(Connection(dashboard.address)) == expected
    dashboard.replies[path] = {"data": {"clusterStatus": None}}
    assert scaling(Connection(dashboard.address)) == Scaling()


def test_a_job_that_is_still_being_submitted_is_not_taken_for_lost(
    run: RunFolder, client: Client
) -> None:
    assert client.status("r").state == runs.QUEUED
    change(run, queued_at=1.0)
    lost = client.status("r")
    assert (lost.state, lost.exit_code) == (runs.LOST, 1)
    assert "does not know the job: its head was lost" in lost.reason
    assert lost.cure.startswith("start it: rnnjob resume r ")


def test_the_death_of_a_driver_is_told_and_no_verb_that_reads_records_it(
    run: RunFolder, client: Client, dashboard: Dashboard
) -> None:
    change(run, state=runs.RUNNING)
    dashboard.set_job("RUNNING")
    assert client.status("r").state == runs.RUNNING
    with pytest.raises(WaitTimeoutError, match="still RUNNING after 1s; the wait ended") as late:
        client.wait("r", 1.0)
    assert late.value.exit_code == 124
    before = run.storage.read(run.STATUS)
    dashboard.set_job("FAILED", message="logs\n" * 900, driver_exit_code=-9)
    lost = client.wait("r")
    assert (lost.state, lost.exit_code, lost.has_outcome) == (runs.LOST, 1, False)
    assert lost.reason == "its process on the head was killed by SIGKILL"
    assert [status.state for status in client.list_runs()] == [runs.LOST]
    assert client.why("r")[0].state == runs.LOST
    assert run.storage.read(run.STATUS) == before and sorted(run.storage.list()) == [
        run.JOB,
        run.STATUS,
    ]
    assert client.check_deletable("r").state == runs.LOST
    with pytest.raises(InputError, match="r is LOST: its process on the head was killed"):
        client.stop("r")
    assert client.stop("r", force=True).state == runs.STOPPED
    assert runs.read_status(run).reason == "given up: its process on the head was killed by SIGKILL"


def test_a_job_that_was_ended_through_ray_jobs_is_stopped(
    run: RunFolder, client: Client, dashboard: Dashboard
) -> None:
    change(run, state=runs.RUNNING)
    dashboard.set_job("STOPPED")
    stopped = client.status("r")
    assert (stopped.state, stopped.exit_code) == (runs.STOPPED, 5)


def test_a_resumed_run_is_not_ended_by_what_ray_reports_about_its_earlier_job(
    run: RunFolder, client: Client, dashboard: Dashboard
) -> None:
    change(run, state=runs.RUNNING)
    dashboard.set_job("STOPPED")
    observer = client.observe("r")
    before = runs.read_status(run)
    change(run, state=runs.QUEUED, job_id="r.1", submitted_at=1.0, queued_at=time.time())
    launcher = client.launcher(dashboard.address)
    assert record_death(run, launcher, before).job_id == "r.1"
    status = observer.status()
    assert (status.state, observer.job) == (runs.QUEUED, None), "Ray does not know r.1 yet"
    dashboard.replies["/api/jobs/r.1"] = {"status": "RUNNING"}
    assert client.status("r").state == runs.QUEUED
    assert not run.read_json(run.RESULT)


def test_a_run_that_succeeds_while_it_is_given_up_stays_succeeded(
    run: RunFolder, client: Client
) -> None:
    change(run, state=runs.SUCCEEDED, ended_at=2.0, exit_code=0)
    run.write_json(run.RESULT, {"state": runs.SUCCEEDED})
    assert record_given_up(run, "no cluster answers").state == runs.SUCCEEDED
    assert run.read_json(run.RESULT) == {"state": runs.SUCCEEDED}


def test_a_cluster_that_does_not_answer_changes_no_record_until_it_is_given_up(
    run: RunFolder, client: Client, dashboard: Dashboard
) -> None:
    change(run, state=runs.RUNNING, address="http://127.0.0.1:9")
    client.connection("http://127.0.0.1:9")  # the user has named it before
    told = client.status("r")
    assert (told.state, told.exit_code) == (runs.UNREACHABLE, None)
    assert told.reason.startswith("no cluster answers at http://127.0.0.1:9: ")
    assert told.reason.endswith("; its record says RUNNING")
    assert [status.state for status in client.list_runs()] == [runs.UNREACHABLE]
    observer = client.observe("r")
    observer.status()
    assert isinstance(observer.refusal, ClusterError)
    with pytest.raises(InputError, match="only a run that has ended") as refused:
        client.delete("r")
    assert "rnnjob stop r --force" in refused.value.cure
    status = client.stop("r", force=True)
    assert (status.state, status.exit_code) == (runs.STOPPED, 5)
    assert "given up: no cluster answers at http://127.0.0.1:9" in status.reason
    assert "rnnjob resume r --address URL" in status.cure
    assert client.check_deletable("r").state == runs.STOPPED


def test_the_old_cluster_of_a_run_that_was_resumed_locally_is_not_asked(
    run: RunFolder, client: Client, dashboard: Dashboard
) -> None:
    change(run, state=runs.RUNNING, mode="local")
    dashboard.set_job("FAILED")
    assert client.status("r").state == runs.RUNNING


def test_a_run_that_ended_can_be_deleted_without_its_cluster(
    run: RunFolder, client: Client
) -> None:
    change(run, state=runs.SUCCEEDED, ended_at=2.0, address="http://127.0.0.1:9")
    client.connection("http://127.0.0.1:9")  # the user has named it before
    files, size = run.storage.usage()
    assert files == 2 and size > 200
    client.delete("r")
    assert client.list_runs() == []


def test_a_run_that_ended_cannot_be_stopped(run: RunFolder, client: Client) -> None:
    change(run, state=runs.SUCCEEDED, ended_at=2.0)
    with pytest.raises(InputError, match="ended already"):
        client.stop("r")


def test_secrets_reach_the_environment_of_the_process_that_loads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PASSPHRASE", raising=False)
    secrets.load()  # no secrets were shipped
    package = secrets.write_package(tmp_path, {"PASSPHRASE": "quince"})
    assert {path.stat().st_mode & 0o077 for path in [package, package / "values.json"]} == {0}
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PASSPHRASE", "")
    secrets.load()
    assert os.environ["PASSPHRASE"] == "quince"
    sys.modules.pop(secrets.PACKAGE)
