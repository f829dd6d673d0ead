"""Run folders on S3. A moto server on this machine stands for S3."""

import contextlib
import io
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from moto.server import ThreadedMotoServer

from orchestrator import runs
from orchestrator.cluster.kuberay.client_code import ClientCode, publish
from orchestrator.cluster.kuberay.code_bootstrap import read_wheel
from orchestrator.datasets.importing.csv_columns import CsvOptions
from orchestrator.datasets.importing.csv_wide import read_wide
from orchestrator.datasets.importing.writer import write_sequences
from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import open_prepared
from tests.conftest import ENOUGH_S, HANG_S, Cli, Finished, wait_for
from tests.e2e.test_predict import digits
from tests.unit.datasets.tables.made import cut, rows, write
from tests.unit.runs.whole_records import epoch, start, step
from tests.unit.simulated import single, tiny_job
from tests.unit.workers.checkpoints.expectations import expected_like
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.checkpoints.progress import Progress
from workers.config import CheckpointConfig, TrainJob
from workers.errors import (
    DamagedCheckpointError,
    GoneError,
    InputError,
    RefusedFileError,
    RunExistsError,
    RunHeldError,
    StorageError,
    TakenOverError,
)
from workers.records.metrics_log import MetricsLog
from workers.records.owners import Fence, Owner, read_owner
from workers.records.ownership import release, take, wait_until_free
from workers.records.run_folder import MetricsTail, RunFolder, StopPoller, StopRequest
from workers.records.run_log import RunLog, log_to
from workers.storage import s3_new_object
from workers.storage.storage import LARGE_BYTES, Storage
from workers.train import train

SECRET = "wJalrXUtnFEMI-not-to-be-seen"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIATEST",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
JOB = ["submit", "--local", "--dataset", "mnist-sample", "--epochs", "2", "--json"]


def options(port: int) -> str:
    return (
        f"endpoint_override=127.0.0.1:{port}&scheme=http&allow_bucket_creation=true"
        "&region=us-east-1"
    )


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of the S3 server."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield server.get_host_and_port()[1]
    server.stop()


@pytest.fixture
def uri(port: int, request: pytest.FixtureRequest) -> str:
    """The URI of a folder that does not exist yet; each test has its own."""
    return f"s3://bucket/{abs(hash(request.node.nodeid)):x}?{options(port)}"


@pytest.fixture
def storage(uri: str) -> Storage:
    storage = Storage(uri)
    storage.create()
    return storage


@pytest.fixture
def run(storage: Storage) -> RunFolder:
    run = RunFolder(storage.child("run-1"))
    run.storage.write(run.JOB, b"{}")
    return run


@pytest.fixture
def dead_port() -> int:
    """A port at which no server listens."""
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize("glob", ["", "/*/*.parquet", "/new/b.parquet"])
def test_tables_are_read_from_there(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glob: str
) -> None:
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "cache"))
    path = write(tmp_path / "here" / "b.parquet", rows())
    storage.write("new/b.parquet", path.read_bytes())
    storage.write("new/_SUCCESS", b"")
    base, mark, query = storage.uri.partition("?")
    there = cut(f"{base}{glob}{mark}{query}")
    assert there.shape.fingerprint == cut(path).shape.fingerprint
    storage.write("new/b.parquet", write(path, rows(24)).read_bytes())
    assert cut(f"{base}{glob}{mark}{query}").shape.train_rows == 12


def test_blocks_of_a_published_shard_are_read_from_there(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "cache"))
    data = prepare("mnist-sample", num_shards=3)
    there = open_prepared(Storage(data.publish(storage))).shard(1)
    whole = data.shard(1).load()["train"]
    found = there.read("train", [range(5, 9), range(1100, 1222)])
    assert torch.equal(found.inputs, torch.cat([whole.inputs[5:9], whole.inputs[1100:1222]]))


def all_files(storage: Storage, name: str = "") -> dict[str, bytes]:
    """Return the content of every file below a folder."""
    found = {}
    for child in storage.list(name):
        path = f"{name}/{child}" if name else child
        try:
            found[path] = storage.read(path, LARGE_BYTES)
        except (FileNotFoundError, StorageError):
            found |= all_files(storage, path)
    return found


def test_what_is_written_is_read_listed_and_deleted(storage: Storage) -> None:
    storage.write("a/b.txt", b"\x00\xff")
    storage.write("a/b.txt", b"new")
    storage.write("a/c/d", b"")
    storage.write("keep", b"1" * 6_000_000)  # more than one part of an upload
    assert storage.read("a/b.txt") == b"new"
    assert storage.read("a/c/d") == b""
    assert len(storage.read("keep", 6_000_000)) == 6_000_000
    with pytest.raises(RefusedFileError, match="/keep has 6,000,000 bytes, and no more than 5,"):
        storage.with_retries().read("keep", 5_999_999)  # it is not tried again for a minute
    assert storage.list() == ["a", "keep"]
    assert storage.list("a") == ["b.txt", "c"]
    assert storage.list("none") == []
    assert storage.exists("a") and storage.exists("a/b.txt") and not storage.exists("a/x")
    storage.delete("a")
    storage.delete("a")
    assert storage.list() == ["keep"]
    storage.delete_file("keep")
    assert storage.list() == []
    with pytest.raises(FileNotFoundError):
        storage.read("keep")


def test_imported_sequences_are_written_there(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id,x0,x1\na,1,2\n")
    sequences = read_wide([tmp_path / "rows.csv"], CsvOptions())
    output = storage.child("new/rows.parquet").uri
    written = write_sequences(sequences, output)
    assert written.where == storage.where("new/rows.parquet")
    data = storage.read("new/rows.parquet")
    assert pq.read_table(io.BytesIO(data)).to_pylist() == [{"id": "a", "inputs": [1, 2]}]
    assert storage.list("new") == ["rows.parquet"]
    with pytest.raises(InputError, match="exists"):
        write_sequences(sequences, output)


def test_a_child_keeps_the_options_of_the_uri(storage: Storage, port: int) -> None:
    child = storage.child("run").child("logs")
    base, _, query = storage.uri.partition("?")
    assert child.uri == f"{base}/run/logs?{query}"
    assert child.where("a") == f"{base}/run/logs/a"
    child.write("a", b"1")
    assert Storage(child.uri).read("a") == b"1"
    assert storage.list("run/logs") == ["a"]
    assert RunFolder.at(storage.child("run").uri).run_id == "run"
    assert storage.local_path is None


def test_a_new_folder_is_created_only_once(storage: Storage) -> None:
    assert storage.child("run").create_new() is True
    assert storage.child("run").create_new() is False


def test_of_many_that_create_a_file_at_the_same_moment_one_does(storage: Storage) -> None:
    for name in ("a", "b/c", "d e"):
        with ThreadPoolExecutor(8) as pool:
            did = list(pool.map(lambda n: storage.write_new(name, b"%d" % n), range(8)))  # noqa: B023
        assert did.count(True) == 1
        assert storage.read(name) == b"%d" % did.index(True)
        assert storage.with_retries().write_new(name, b"9") is False


def test_without_conditional_writes_the_last_of_several_creates_the_file(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_new_object, "put_new", lambda *_: None)
    with ThreadPoolExecutor(4) as pool:
        did = list(pool.map(lambda n: storage.write_new("a", b"%d" % n), range(4)))
    assert did.count(True) == 1
    assert storage.read("a") == b"%d" % did.index(True)
    assert storage.write_new("a", b"9") is False


def test_a_file_cannot_be_created_where_no_server_answers(dead_port: int, port: int) -> None:
    storage = Storage(f"s3://bucket/run?{options(dead_port)}")
    with pytest.raises(StorageError, match="cannot write s3://bucket/run/a: "):
        storage.write_new("a", b"")


def test_nothing_comes_back_of_a_run_that_was_deleted(run: RunFolder) -> None:
    run.write_json(run.STATUS, {})
    run.storage.delete()
    for attempt in (
        lambda: run.write_json(run.STATUS, {}),
        lambda: run.storage.child("logs").create(),
        lambda: take(run, None, "cluster", "r"),
        lambda: run.with_retries().storage.child("checkpoints").write("x", b""),
    ):
        with pytest.raises(GoneError, match="/run-1 was deleted meanwhile"):
            attempt()
    with log_to(RunLog(run, "worker-0")):
        logging.getLogger("workers.test").warning("lost")
    assert not run.storage.exists() and run.storage.list() == []


def test_a_run_has_one_owner(run: RunFolder) -> None:
    with ThreadPoolExecutor(4) as pool:

        def try_to_take(_: int) -> Owner | None:
            with contextlib.suppress(RunHeldError):
                return take(run, None, "cluster", "r")
            return None

        owner, *others = filter(None, pool.map(try_to_take, range(4)))
    assert not others
    assert read_owner(run) == owner
    with pytest.raises(RunHeldError, match=f"held by process {os.getpid()} on"):
        wait_until_free(run)
    release(run, owner)
    assert take(run, wait_until_free(run), "local", "r").term == 2
    with pytest.raises(TakenOverError):
        Fence(run, owner.term, owner.token).check()


def test_a_missing_bucket_is_created_if_the_uri_allows_it(port: int) -> None:
    with pytest.raises(StorageError, match="Bucket 'other' not found"):
        Storage(f"s3://other/runs?{options(port).replace('true', 'false')}").create()
    storage = Storage(f"s3://other/runs?{options(port)}")
    assert storage.list() == [] and not storage.exists()
    assert storage.child("run").create_new() is True
    assert storage.list() == ["run"]


@pytest.mark.parametrize("option", ["regoin=us-east-1", "allow_bucket_creation=yes"])
def test_an_unknown_option_is_an_error_that_names_the_known_options(option: str) -> None:
    with pytest.raises(StorageError) as caught:
        Storage(f"s3://bucket/runs?{option}")
    assert f"its option {option} is not valid; valid: endpoint_override, region" in (
        caught.value.cause
    )


@pytest.mark.parametrize(
    "uri",
    [
        f"s3://AKIA:{SECRET}@bucket/runs?region=us-east-1",
        f"s3://AKIA:{SECRET}/with/slashes@bucket/runs",
        f"s3://bucket/runs?region=us-east-1&secret_key={SECRET}",
        f"gs://bucket/runs?access_token={SECRET}",
        f"hdfs://user:{SECRET}@host:8020/runs",
        f"abfs://:{SECRET}@account.dfs.core.windows.net/runs",
        f"abfs://container@account.dfs.core.windows.net/runs?client_secret={SECRET}",
    ],
)
def test_a_uri_with_credentials_is_refused_without_showing_them(uri: str) -> None:
    with pytest.raises(InputError) as caught:
        Storage(uri)
    assert "holds credentials" in caught.value.cause
    assert SECRET[:9] not in str(caught.value)
    if uri.startswith("s3"):
        assert "AWS_SECRET_ACCESS_KEY" in caught.value.cure


def test_the_code_of_an_exported_job_is_read_as_a_pod_reads_it(storage: Storage) -> None:
    code = ClientCode(b"a wheel", ())
    assert code.name in publish(code, storage, [])
    assert read_wheel(storage.uri, code.name) == b"a wheel"


def test_a_run_id_can_be_used_only_once_and_its_files_can_be_read(storage: Storage) -> None:
    run = runs.create_run(storage, "run-1", "name: x\n", "local")
    with pytest.raises(RunExistsError):
        runs.create_run(storage, "run-1", "name: y\n", "local")
    assert run.storage.read(run.JOB) == b"name: x\n"
    assert runs.read_status(run).state == "QUEUED"
    assert [status.run_id for status in runs.list_runs(storage)] == ["run-1"]
    run.ask_to_stop(StopRequest("time limit", 124))
    assert StopPoller(run)() == StopRequest("time limit", 124)


def checkpoint_at(step: int, best_epoch: int = 0) -> Checkpoint:
    tensors = {"w": torch.full((2, 3), float(step))}
    progress = Progress(epoch=best_epoch, step=step)
    return Checkpoint("a" * 64, progress, tensors, {"w/exp_avg": tensors["w"]}, {})


def test_checkpoints_are_kept_and_loaded_and_damaged_ones_are_skipped(run: RunFolder) -> None:
    kept = Checkpoints(run, CheckpointConfig(keep_latest=2, keep_best=0))
    expected = expected_like(checkpoint_at(0))
    for number in (1, 2, 3):
        kept.save(checkpoint_at(number))
    assert kept.steps() == [2, 3]
    assert torch.equal(kept.load(3, "a" * 64, expected).model["w"], torch.full((2, 3), 3.0))
    damaged = "checkpoints/step-00000003/model.safetensors"
    run.storage.write(damaged, run.storage.read(damaged)[:-1])
    with pytest.raises(DamagedCheckpointError, match="s3://bucket/"):
        kept.load(3, "a" * 64, expected)
    latest = kept.latest(lambda _: "a" * 64, expected)
    assert latest is not None and latest.progress.step == 2
    kept.save(checkpoint_at(2))
    assert kept.steps() == [2], "the damaged checkpoint was not deleted"


def test_metrics_can_be_followed_and_are_cut_at_the_checkpoint_on_a_resume(run: RunFolder) -> None:
    tail = MetricsTail(run)
    assert tail.read() == []
    with MetricsLog(run, 0) as log:
        log.write(start())
        for number in (1, 2):
            log.write(step(number))
        log.write(epoch(1, 2))
        assert [record["kind"] for record in tail.read()] == ["start", "step", "step", "epoch"]
        log.write(step(3))
    assert [record["step"] for record in tail.read()] == [3]
    assert len(run.storage.list("tensorboard")) == 1
    with MetricsLog(run, 2) as log:
        assert log.attempt == 2
        log.write(start(2))
    assert [record["step"] for record in run.read_metrics()] == [0, 1, 2, 2, 2]


def test_a_log_is_written_at_the_end_and_a_second_process_appends_to_it(run: RunFolder) -> None:
    for text in ("first", "second"):
        with log_to(RunLog(run, "worker-0")):
            logging.getLogger("workers.test").warning(text)
    lines = run.storage.read("logs/worker-0.log").decode().splitlines()
    assert [line.split()[-1] for line in lines] == ["first", "second"]


def test_a_log_that_cannot_be_written_raises_nothing(dead_port: int, port: int) -> None:
    unreachable = RunFolder.at(f"s3://bucket/run?{options(dead_port)}")
    with log_to(RunLog(unreachable, "worker-0")):
        logging.getLogger("workers.test").warning("lost")


def at(job: TrainJob, run: RunFolder) -> TrainJob:
    """Return the job with another run folder."""
    return job.model_copy(update={"run_uri": run.storage.uri})


def test_a_stopped_training_is_resumed_to_the_weights_of_a_local_training(
    run: RunFolder, tmp_path: Path
) -> None:
    job = tiny_job(tmp_path)
    local = train(job, single(job)).weights_sha256
    stopped = train(at(job, run), single(job, stop_after=4))
    assert stopped.stopped and stopped.steps == 4
    finished = train(at(job, run), single(job))
    assert finished.weights_sha256 == local
    steps = [r["step"] for r in run.read_metrics() if r["kind"] == "step"]
    assert steps == list(range(1, 7))
    assert len(run.storage.list("tensorboard")) == 2
    assert run.storage.exists(run.MODEL)


# The installed command.


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli, port: int) -> Cli:
    own = {n: v for n, v in module_rnnjob.environment.items() if not n.startswith("AWS_")}
    uri = f"s3://cli/runs?{options(port)}"
    return replace(module_rnnjob, environment={**own, **CREDENTIALS, "RNNJOB_STORAGE": uri})


def storage_of(cli: Cli) -> Storage:
    return Storage(cli.environment["RNNJOB_STORAGE"])


@pytest.fixture(scope="module")
def done(cli: Cli) -> Finished:
    return cli(*JOB, "--run-id", "first", "--storage", cli.environment["RNNJOB_STORAGE"])


def test_a_job_leaves_a_whole_run_folder(cli: Cli, done: Finished) -> None:
    assert done.exit_code == 0, done.stderr
    folder = storage_of(cli).child("first")
    wanted = {
        "checkpoints", "job.yaml", "metrics.jsonl", "model.safetensors", "provenance.json",
        "report.html", "result.json", "status.json", "tensorboard",
    }  # fmt: skip
    assert wanted <= set(folder.list())
    assert json.loads(folder.read("result.json")) == done.json
    events = folder.list("tensorboard")
    assert len(events) == 1
    assert b"epoch/validation_accuracy" in folder.read(f"tensorboard/{events[0]}")


def test_the_weights_equal_those_of_a_run_in_a_local_folder(cli: Cli, done: Finished) -> None:
    local = cli(*JOB, "--storage", "here")
    assert local.exit_code == 0, local.stderr
    assert local.json["weights_sha256"] == done.json["weights_sha256"]


def test_no_secret_is_printed_or_kept(cli: Cli, done: Finished) -> None:
    files = all_files(storage_of(cli).child("first"))
    assert len(files) > 10
    assert not [name for name, data in files.items() if SECRET.encode() in data]
    assert SECRET not in done.stdout + done.stderr


def test_runs_are_listed_and_shown(cli: Cli, done: Finished) -> None:
    listed = {run["run_id"]: run for run in cli("list", "--json").json["runs"]}
    assert listed["first"]["state"] == "SUCCEEDED"
    shown = cli("show", "first", "--json").json
    assert shown["result"]["weights_sha256"] == done.json["weights_sha256"]
    assert len(shown["epochs"]) == 2


@pytest.fixture(scope="module")
def digits_there(cli: Cli) -> str:
    """The test rows of the digits in two files; the URI of their folder."""
    table = digits(cli.cwd / "digits.parquet")
    there = storage_of(cli).child("digits")
    for name, rows_ in (("a", table.slice(0, 700)), ("b", table.slice(700))):
        there.write(f"{name}.parquet", write(cli.cwd / f"{name}.parquet", rows_).read_bytes())
    return there.uri


def output_there(cli: Cli, name: str) -> str:
    base, mark, query = storage_of(cli).uri.partition("?")
    return f"{base}/{name}{mark}{query}"


def predicted_there(cli: Cli, name: str) -> pa.Table:
    """Return a file of predictions without the column of the file, which differs by its place."""
    data = storage_of(cli).read(name, LARGE_BYTES)
    return pq.read_table(pa.BufferReader(data)).drop_columns("file")


@pytest.mark.release
def test_a_model_there_is_used_on_rows_there(cli: Cli, done: Finished, digits_there: str) -> None:
    evaluated = cli("evaluate", "first", "--json")
    assert evaluated.exit_code == 0, evaluated.stderr
    assert evaluated.json["loss"] == done.json["test_loss"]
    to = output_there(cli, "here.parquet")
    there = cli("predict", "first", digits_there, "-o", to, "--json")
    assert there.exit_code == 0, there.stderr
    assert SECRET not in there.stdout + there.stderr
    assert cli("predict", "first", "a.parquet", "b.parquet", "-o", "p.parquet").exit_code == 0
    alone = pq.read_table(cli.cwd / "p.parquet").drop_columns("file")
    assert predicted_there(cli, "here.parquet").equals(alone) and alone.num_rows == 1000
    again = cli("predict", "first", digits_there, "-o", to)
    assert again.exit_code == 2 and "here.parquet exists" in again.cause
    exported = cli("export", "first", "--format", "bundle", "-o", "bundle", "--json")
    assert exported.json["weights_sha256"] == done.json["weights_sha256"]


@pytest.mark.release
def test_a_ray_uses_a_model_there_on_rows_there_and_leaves_no_parts(
    cli: Cli, done: Finished, digits_there: str, no_process_left: None
) -> None:
    to = output_there(cli, "ray.parquet")
    there = cli("predict", "first", digits_there, "-o", to, "--workers", "2", "--json")
    assert there.exit_code == 0, there.stderr
    assert cli("predict", "first", "a.parquet", "b.parquet", "-o", "r.parquet").exit_code == 0
    alone = pq.read_table(cli.cwd / "r.parquet").drop_columns("file")
    assert predicted_there(cli, "ray.parquet").equals(alone)
    evaluated = cli("evaluate", "first", "--workers", "2", "--json")
    assert evaluated.exit_code == 0, evaluated.stderr
    assert evaluated.json["loss"] == done.json["test_loss"]
    left = {"ray.parquet.partial", ".parts"} & set(storage_of(cli).list())
    assert not [name for name in left if storage_of(cli).list(name)]


def test_an_unknown_run_ends_with_4(cli: Cli, done: Finished) -> None:
    for verb in ("show", "stop"):
        refused = cli(verb, "nope")
        assert refused.exit_code == 4
        assert refused.cause == "no run 'nope' in s3://cli/runs"


def test_a_run_id_is_never_used_twice(cli: Cli, done: Finished) -> None:
    again = cli(*JOB, "--run-id", "first")
    assert again.exit_code == 2
    assert again.cause == "the run 'first' is already in s3://cli/runs"


def test_a_stopped_run_is_resumed_to_the_same_weights(cli: Cli, done: Finished) -> None:
    process = cli.start(*JOB, "--run-id", "second")
    try:
        folder = storage_of(cli).child("second")
        wait_for(lambda: folder.exists("status.json"))
        stop = cli("stop", "second")
        process.communicate(timeout=ENOUGH_S)
    finally:
        process.kill()
        process.wait()
    assert stop.exit_code == 0, stop.stderr
    assert process.returncode == 5
    assert runs.read_status(RunFolder(folder)).state == "STOPPED"
    resumed = cli("resume", "second", "--local", "--json")
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.json["weights_sha256"] == done.json["weights_sha256"]
    assert not folder.exists("stop.json")


@pytest.mark.parametrize("command", [JOB, ["list"]], ids=["submit", "list"])
def test_an_endpoint_that_does_not_answer_is_reported_soon(
    cli: Cli, dead_port: int, command: list[str]
) -> None:
    started = time.monotonic()
    refused = cli(*command, "--storage", f"s3://bucket/runs?{options(dead_port)}")
    assert time.monotonic() - started < HANG_S, "pyarrow's own retries take 100 s"
    assert refused.exit_code == (2 if command is JOB else 1)
    assert refused.cause.startswith("cannot ")
    assert "s3://bucket/runs" in refused.cause
    assert str(dead_port) in refused.cause and "Could not connect to server" in refused.cause
    assert "can be reached with the credentials of this environment" in refused.cure
    assert SECRET not in refused.stderr


@pytest.mark.parametrize(
    "command", [JOB, [*JOB, "--dry-run"], ["list"], ["show", "first"]], ids=" ".join
)
def test_every_command_refuses_credentials_in_the_uri(cli: Cli, command: list[str]) -> None:
    query = storage_of(cli).uri.partition("?")[2]
    refused = cli(*command, "--storage", f"s3://AKIA:{SECRET}@cli/runs?{query}")
    assert refused.exit_code == 2
    assert refused.cause == "the URI s3://***@cli/runs holds credentials"
    assert "AWS_SECRET_ACCESS_KEY" in refused.cure
    assert SECRET not in refused.stdout + refused.stderr
