"""A run folder of somebody else sends nothing of the user's to the cluster that it names."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import build_spec, runs
from orchestrator.cli import main
from orchestrator.client import Client
from orchestrator.cluster.connection import Connection
from tests.unit.recording_cluster import RecordingCluster, recording_cluster
from workers.errors import ClusterError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

TOKEN, KEY = "token-of-the-user", "key-of-the-user"
ENDED = {"state": runs.FAILED, "exit_code": 1, "ended_at": 1.0}
VERBS: list[tuple[tuple[str, ...], int]] = [
    (("status", "r"), 0),
    (("why", "r"), 0),
    (("describe", "r"), 0),
    (("describe", "r", "--json"), 0),
    (("wait", "r", "--timeout", "1s"), 1),
    (("logs", "r"), 0),
    (("logs", "r", "-f"), 0),
    (("stop", "r"), 2),
    (("stop", "r", "--force"), 2),
    (("resume", "r", "-d"), 2),
    (("submit", "--resume", "r", "-d"), 2),
    (("delete", "r", "-y"), 0),
]


class Listener:
    """A server that never answers. The kernel keeps each connection until it is counted."""

    def __init__(self, server: socket.socket) -> None:
        self._server = server
        self.address = f"http://127.0.0.1:{server.getsockname()[1]}"

    def num_connections(self) -> int:
        count = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                self._server.accept()[0].close()
                count += 1
        return count


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Listener(server)


@pytest.fixture
def cluster() -> Iterator[RecordingCluster]:
    with recording_cluster() as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's token and headers, and a working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RNNJOB_HEADERS", json.dumps({"X-Proxy-Key": KEY}))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN)


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def foreign_run(address: str, **values: object) -> RunFolder:
    spec = build_spec(flags={"dataset.name": "mnist-sample", "training.epochs": 1})
    run = runs.create_run(Storage("runs"), "r", spec.to_yaml(), "cluster", address)
    run.write_json(run.STATUS, {**runs.read_status(run).to_json(), **values})
    return run


def had_the_credentials(cluster: RecordingCluster) -> bool:
    sent = [
        (request.headers.get("Authorization"), request.headers.get("X-Proxy-Key"))
        for request in cluster.requests
    ]
    return bool(sent) and set(sent) == {(f"Bearer {TOKEN}", KEY)}


@pytest.mark.parametrize(("words", "code"), VERBS)
def test_no_verb_connects_to_a_cluster_that_only_the_run_folder_names(
    listener: Listener, words: tuple[str, ...], code: int
) -> None:
    foreign_run(listener.address, **ENDED)
    done = rnnjob(*words)
    assert listener.num_connections() == 0
    assert done.exit_code == code, done.output
    assert TOKEN not in done.output and KEY not in done.output


@pytest.mark.parametrize("state", [runs.QUEUED, runs.RUNNING])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("status", "r"), 0),
        (("why", "r"), 0),
        (("describe", "r"), 0),
        (("wait", "r", "--timeout", "1s"), 124),
        (("stop", "r", "--force"), 2),
    ],
)
def test_a_run_that_goes_on_shows_the_address_and_what_to_do_if_it_is_trusted(
    listener: Listener, words: tuple[str, ...], code: int, state: str
) -> None:
    run = foreign_run(listener.address, state=state)
    done = rnnjob(*words)
    assert done.exit_code == code, done.output
    assert f"r names the cluster {listener.address}, which you have not used be" in done.output
    assert f"if you trust it: --address {listener.address}" in done.output
    assert listener.num_connections() == 0
    assert runs.read_status(run).state == state and run.stop_request() is None


def test_all_verbs_count_it_as_unreachable_and_tell_the_recorded_state(
    listener: Listener,
) -> None:
    foreign_run(listener.address, state=runs.RUNNING)
    answer = json.loads(rnnjob("why", "r", "--json").stdout)
    assert (answer["category"], answer["state"]) == ("unreachable", runs.UNREACHABLE)
    assert answer["next"] == f"if you trust it: --address {listener.address}"
    told = [json.loads(rnnjob(verb, "r", "--json").stdout) for verb in ("status", "show")]
    told = [told[0], told[1]["status"], *json.loads(rnnjob("list", "--json").stdout)["runs"]]
    assert {status["state"] for status in told} == {runs.UNREACHABLE}
    assert all("its record says RUNNING" in status["reason"] for status in told)
    assert listener.num_connections() == 0
    described = json.loads(rnnjob("describe", "r", "--json").stdout)["cluster"]
    assert described["cure"] == answer["next"] and not described["reachable"]


def test_a_run_without_a_known_cluster_is_asked_to_stop_through_its_folder(
    listener: Listener,
) -> None:
    run = foreign_run(listener.address, state=runs.RUNNING)
    assert rnnjob("stop", "r").exit_code == 0
    request = run.stop_request()
    assert request is not None and not request.at_once
    assert listener.num_connections() == 0


@pytest.mark.parametrize(
    ("words", "code", "method"),
    [
        (("status", "r"), 0, "GET"),
        (("why", "r"), 0, "GET"),
        (("describe", "r"), 0, "GET"),
        (("wait", "r", "--timeout", "1s"), 124, "GET"),
        (("logs", "r", "-f"), 0, "GET"),
        (("stop", "r"), 0, "GET"),
        (("stop", "r", "--force"), 0, "POST"),
        (("delete", "r", "-y"), 0, "DELETE"),
        (("resume", "r", "-d"), 0, "POST"),
    ],
)
def test_a_verb_with_the_address_asks_the_cluster_with_the_credentials(
    cluster: RecordingCluster, words: tuple[str, ...], code: int, method: str
) -> None:
    ended = words[0] in ("delete", "resume")
    foreign_run(cluster.address, **(ENDED if ended else {"state": runs.RUNNING}))
    cluster.jobs["r"] = "STOPPED" if ended or words[0] == "logs" else "RUNNING"
    done = rnnjob(*words, "--address", cluster.address)
    assert done.exit_code == code, done.output
    assert had_the_credentials(cluster)
    assert cluster.paths(method)
    assert "note: " not in done.stderr


def test_an_address_that_was_named_once_needs_no_flag_any_more(cluster: RecordingCluster) -> None:
    foreign_run(cluster.address, state=runs.RUNNING)
    cluster.jobs["r"] = "RUNNING"
    rnnjob("status", "r")
    assert not cluster.requests
    rnnjob("status", "r", "--address", cluster.address + "/")
    before = len(cluster.requests)
    assert rnnjob("status", "r").stderr == ""
    assert len(cluster.requests) > before and had_the_credentials(cluster)


def test_the_flag_is_enough_where_no_address_can_be_remembered(
    cluster: RecordingCluster, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("no folder")
    foreign_run(cluster.address, state=runs.RUNNING)
    done = rnnjob("status", "r", "--address", cluster.address)
    assert (done.exit_code, done.stderr) == (0, "")
    assert had_the_credentials(cluster)


def test_naming_another_cluster_does_not_make_that_of_the_run_known(
    listener: Listener, cluster: RecordingCluster
) -> None:
    foreign_run(listener.address, state=runs.RUNNING)
    done = rnnjob("status", "r", "--address", cluster.address)
    assert "which you have not used before" in done.stderr
    assert listener.num_connections() == 0 and not cluster.requests


def test_an_address_that_is_none_is_refused(listener: Listener) -> None:
    foreign_run(listener.address, state=runs.RUNNING)
    for words, code in {("auto",): 2, ("local",): 4}.items():
        done = rnnjob("status", "r", "--address", *words)
        assert done.exit_code == code and "Try: " in done.stderr
    assert listener.num_connections() == 0


@pytest.mark.parametrize("variable", ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS", None])
def test_a_run_that_was_submitted_from_here_is_asked_in_another_shell(
    cluster: RecordingCluster, variable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ["submit", "--dataset", "mnist-sample", "--run-id", "r", "-d"]
    if variable:
        monkeypatch.setenv(variable, cluster.address)
    else:
        job += ["--address", cluster.address]
    done = rnnjob(*job)
    assert done.exit_code == 0, done.output
    if variable:
        monkeypatch.delenv(variable)
    before = len(cluster.requests)
    assert rnnjob("status", "r").stderr == ""
    assert len(cluster.requests) > before
    assert rnnjob("stop", "r", "--force").exit_code == 0
    done = rnnjob("resume", "r", "-d")
    assert done.exit_code == 0, done.output
    assert list(cluster.jobs.values()) == ["STOPPED", "PENDING"]
    assert had_the_credentials(cluster)


@pytest.mark.parametrize("variable", ["RAY_API_SERVER_ADDRESS", "RAY_ADDRESS"])
def test_the_environment_makes_an_address_known(
    cluster: RecordingCluster, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign_run(cluster.address, state=runs.RUNNING)
    cluster.jobs["r"] = "RUNNING"
    monkeypatch.setenv(variable, cluster.address)
    rnnjob("status", "r")
    assert had_the_credentials(cluster)


def test_doctor_makes_an_address_known(cluster: RecordingCluster) -> None:
    foreign_run(cluster.address, state=runs.RUNNING)
    rnnjob("doctor", "--no-probe", "--dataset", "mnist-sample", "--address", cluster.address)
    before = len(cluster.requests)
    assert before
    rnnjob("status", "r")
    assert len(cluster.requests) > before


def test_the_python_api_asks_only_the_cluster_that_it_was_given(
    cluster: RecordingCluster, listener: Listener
) -> None:
    headers = {"X-Proxy-Key": KEY}
    foreign_run(cluster.address, state=runs.RUNNING)
    cluster.jobs["r"] = "RUNNING"
    unknown = runs.UNREACHABLE
    assert Client("runs", headers=headers).status("r").state == unknown
    assert Client("runs", listener.address, headers=headers).status("r").state == unknown
    assert not cluster.requests and listener.num_connections() == 0
    assert Client("runs", "auto", headers=headers).status("r").state == unknown
    assert not cluster.requests
    assert Client("runs", cluster.address, headers=headers).status("r").state == runs.RUNNING
    assert had_the_credentials(cluster)


def test_a_redirect_does_not_take_the_headers_to_another_host(listener: Listener) -> None:
    from orchestrator.launch.ray_client import explained, ray_client

    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(307)
            self.send_header("Location", listener.address + self.path)
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Redirect)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with pytest.raises(ClusterError), explained(address):
        ray_client(Connection(address, {"X-Proxy-Key": KEY}))
    server.shutdown()
    server.server_close()
    assert listener.num_connections() == 0
