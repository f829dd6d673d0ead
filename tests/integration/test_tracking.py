"""Runs are sent to a real MLflow server; one that is dead, silent or refuses harms no run."""

import http.server
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import open_run
from tests.conftest import ROOT, Cli, Finished, wait_for
from tests.e2e.test_own_sequences import KINDS, sequences
from tests.integration.real_cluster import ask, real_cluster
from tests.mlflow_server import MlflowServer, free_port, mlflow_server
from tests.unit.datasets.tables.made import write
from workers.records.run_folder import RunFolder

SECRET = "a-token-that-nobody-sees"
IMAGES = ["submit", "--local", "--dataset", "mnist-sample", "--epochs", "2", "--json"]
TABLES = [
    "submit", "--local", "--dataset", "parquet:data", "--epochs", "2", "--batch-size", "20",
    "--set", "dataset.num_shards=5", "--json",
]  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as started:
        yield started


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Cli:
    """Commands in a folder with tables and a model of one's own."""
    (module_rnnjob.cwd / "data").mkdir()
    write(module_rnnjob.cwd / "data" / "rows.parquet", sequences())
    shutil.copy(ROOT / "examples" / "conv_gru.py", module_rnnjob.cwd / "net.py")
    return module_rnnjob


@pytest.fixture(scope="module")
def images(cli: Cli, server: MlflowServer) -> Finished:
    """A job on images that was sent while it ran, as the run `images`."""
    done = cli(*IMAGES, "--run-id", "images", "--set", f"tracking.mlflow={server.uri}")
    assert done.exit_code == 0, done.stderr
    return done


def records(cli: Cli, run_id: str, kind: str) -> list[Any]:
    run = RunFolder.at(str(cli.cwd / "runs" / run_id))
    return [record for record in run.read_metrics() if record["kind"] == kind]


def check_sent(cli: Cli, server: MlflowServer, run_id: str) -> None:
    """Compare what the server has of a run with its folder: every step once, the model, the end."""
    for kind, name in (("step", "loss"), ("epoch", "train_loss"), ("test", "loss")):
        wanted: list[Any] = [
            (r["step"], pytest.approx(r[name])) for r in records(cli, run_id, kind)
        ]
        assert wanted and server.points(run_id, f"{kind}/{name}") == wanted
    folder = cli.cwd / "runs" / run_id
    result = json.loads((folder / "result.json").read_text())
    tags = server.tags(run_id)
    assert tags["rnnjob.state"] == "SUCCEEDED" and tags["rnnjob.run"] == run_id
    assert tags["rnnjob.weights_sha256"] == result["weights_sha256"]
    assert tags["rnnjob.fingerprint"] == result["fingerprint"]
    assert server.run(run_id)["info"]["status"] == "FINISHED"
    parameters = server.parameters(run_id)
    assert parameters["training.seed"] == "0" and parameters["training.precision"] != "auto"
    files = server.files(run_id)
    assert {"job.yaml", "result.json", "report.html", "bundle/weights.safetensors"} <= files


def test_a_run_of_images_is_sent_while_it_runs(
    cli: Cli, server: MlflowServer, images: Finished
) -> None:
    check_sent(cli, server, "images")
    assert not [line for line in images.stderr.splitlines() if "track" in line]


def test_what_was_sent_is_not_sent_again(
    cli: Cli,
    server: MlflowServer,
    images: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(tmp_path))
    again = cli("track", "images", "--json").json["runs"][0]
    assert (again["records"], again["files"]) == (0, [])
    assert "nothing was missing" in cli("track", "images").stdout
    assert again["page"].startswith(f"{server.uri}/#/experiments/")
    assert open_run("images", storage=cli.cwd / "runs").track(server.uri) == again["page"]
    check_sent(cli, server, "images")


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_any_data_and_model_is_sent_by_hand(cli: Cli, server: MlflowServer, kind: str) -> None:
    done = cli(*TABLES, *KINDS[kind], "--run-id", kind)
    assert done.exit_code == 0, done.stderr
    refused = cli("track", kind)
    assert refused.exit_code == 2 and refused.cause.endswith("names no tracker")
    sent = cli("track", kind, "--mlflow", server.uri)
    assert sent.exit_code == 0, sent.stderr
    check_sent(cli, server, kind)


@pytest.mark.long
def test_a_run_that_was_extended_is_the_same_run_with_each_step_once(
    cli: Cli, server: MlflowServer
) -> None:
    tracked = ["--set", f"tracking.mlflow={server.uri}", "--run-id", "longer"]
    assert cli(*IMAGES, *tracked).exit_code == 0
    done = cli("resume", "longer", "--local", "--set", "training.epochs=3")
    assert done.exit_code == 0, done.stderr
    points = server.points("longer", "step/loss")
    steps = [record["step"] for record in records(cli, "longer", "step")]
    assert [step for step, _ in points] == steps
    assert server.parameters("longer")["training.epochs"] == "2"
    assert server.tags("longer")["rnnjob.now.training.epochs"] == "3"
    assert server.run("longer")["info"]["status"] == "FINISHED"


@pytest.mark.long
def test_workers_on_ray_have_the_same_weights_with_a_tracker(
    cli: Cli, server: MlflowServer, images: Finished, no_process_left: None
) -> None:
    job = [word for word in IMAGES if word != "--local"]
    tracked = ["--workers", "2", "--run-id", "two", "--set", f"tracking.mlflow={server.uri}"]
    done = cli(*job, *tracked)
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == images.json["weights_sha256"]
    check_sent(cli, server, "two")


def test_a_dead_tracker_costs_one_line_and_the_rest_is_sent_by_hand(
    cli: Cli, server: MlflowServer, images: Finished, no_process_left: None
) -> None:
    uri = f"http://127.0.0.1:{free_port()}"
    done = cli(*IMAGES, "--run-id", "dead", "--set", f"tracking.mlflow={uri}")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == images.json["weights_sha256"]
    (line,) = [line for line in done.stderr.splitlines() if "tracker" in line]
    assert line.startswith(f"the tracker {uri} does not answer: Connection refused; the job goes")
    assert "this sends what is missing: rnnjob track dead" in line
    still = cli("track", "dead")
    assert still.exit_code == 3 and still.cause.startswith(f"the tracker {uri} does not answer")
    assert cli("track", "dead", "--mlflow", server.uri).exit_code == 0
    check_sent(cli, server, "dead")


@pytest.mark.long
def test_a_silent_tracker_is_not_waited_for(cli: Cli, no_process_left: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts, and says nothing
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = cli(*IMAGES, "--run-id", "silent", "--set", f"tracking.mlflow={uri}")
    assert done.exit_code == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "track" in line]
    assert "has not answered for 10 s" in line and "rnnjob track silent" in line


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Refuses each request, and keeps the credentials that came with it."""

    seen: list[str | None]

    def do_GET(self) -> None:
        self.seen.append(self.headers.get("Authorization"))
        self.send_error(401, "who are you?")

    do_POST = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def refusing() -> Iterator[str]:
    """The URI of a tracker that refuses everything."""
    _Refusing.seen = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_token_reaches_the_tracker_and_no_file_or_line(cli: Cli, refusing: str) -> None:
    uri = refusing
    tracked = ["--run-id", "refused", "--set", f"tracking.mlflow={uri}"]
    done = cli(*IMAGES, *tracked, MLFLOW_TRACKING_TOKEN=SECRET)
    told = cli("track", "refused", MLFLOW_TRACKING_TOKEN=SECRET)
    assert done.exit_code == 0, done.stderr
    assert f"the tracker {uri} refuses the request (401)" in done.stderr
    assert told.exit_code == 3 and "--secret MLFLOW_TRACKING_TOKEN" in told.cure
    assert _Refusing.seen and set(_Refusing.seen) == {f"Bearer {SECRET}"}
    assert SECRET not in done.stderr + done.stdout + told.stderr
    for file in (cli.cwd / "runs" / "refused").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes(), file


@pytest.mark.long
def test_a_job_on_a_cluster_is_sent_with_a_token_that_no_listing_has(
    rnnjob: Cli, server: MlflowServer, refusing: str
) -> None:
    job = [word for word in IMAGES if word != "--local"]
    secret = ["--secret", "MLFLOW_TRACKING_TOKEN"]
    with real_cluster(rnnjob, 1) as (cli, cluster):
        where = ["--address", "local", "--workers", "1", *secret]
        for run_id, uri in (("taken", server.uri), ("refused", refusing)):
            tracked = ["--run-id", run_id, "--set", f"tracking.mlflow={uri}"]
            done = cli(*job, *where, *tracked, MLFLOW_TRACKING_TOKEN=SECRET)
            assert done.exit_code == 0, done.stderr
        assert SECRET not in ask(cluster, "/api/jobs/")
        wait_for(lambda: "refuses the request (401)" in cli("logs", "refused").stdout)
        wait_for(lambda: "rnnjob.sent.bundle" in server.tags("taken"))
        check_sent(cli, server, "taken")
    assert set(_Refusing.seen) == {f"Bearer {SECRET}"}


def test_a_tracker_that_only_a_copied_run_names_is_not_sent_to(
    cli: Cli, tmp_path: Path, images: Finished
) -> None:
    done = cli("track", "images", RNNJOB_STATE_DIR=str(tmp_path))
    assert done.exit_code == 2 and "which you have not used before" in done.cause
    extended = ["resume", "images", "--local", "--set", "training.epochs=3"]
    resumed = cli(*extended, RNNJOB_STATE_DIR=str(tmp_path))
    assert resumed.exit_code == 2 and "if you trust it: --set tracking.mlflow=" in resumed.cure
