"""Damaged and foreign run folders: each command answers, or says in one line what is wrong."""

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.driver.status_updater import StatusUpdater
from orchestrator.launch.resumption import check_resumption
from orchestrator.runs import RunStatus
from orchestrator.runs.outcome import write_outcome
from orchestrator.spec.job_spec import JobSpec
from tests.conftest import Cli
from tests.unit.fakes import FakeLauncher
from tests.unit.folders import empty_run
from tests.unit.hostile import NO_OBJECTS, ODD, changed, damaged, files_in
from tests.unit.runs.whole_records import epoch, outcome, start, step
from workers.errors import JobError
from workers.records.metrics_log import MetricsLog
from workers.records.owners import Fence
from workers.records.run_folder import MetricsTail, RunFolder
from workers.storage.storage import Storage

RUN_ID = "r"
STATUS = RunStatus(
    RUN_ID,
    "FAILED",
    "local",
    reason="it broke",
    cure="mend it",
    exit_code=1,
    attempt=1,
    workers=2,
    host=socket.gethostname(),
    submitted_at=1.0,
    started_at=2.0,
    ended_at=3.0,
).to_json()
ALIVE = {**STATUS, "state": "RUNNING", "exit_code": None, "ended_at": None, **runs.this_process()}
RESULT = {
    "schema_version": 1,
    "run_id": RUN_ID,
    "state": "SUCCEEDED",
    "test_accuracy": 0.5,
    "test_head_rows": 5,
    "test_head_accuracy": 0.25,
    "validation_accuracy": 0.5,
    "epochs": 1,
    "steps": 2,
    "train_rows_seen": 64,
    "samples_per_s": 10.0,
    "weights_sha256": "c" * 64,
    "wall_s": 2.0,
}
RECORDS = [
    start(),
    step(1),
    step(2),
    epoch(1, 2, validation_loss=0.5, validation_accuracy=0.25),
    start(2, attempt=2, repeated_steps=1, idle_s=0.5),
    outcome(2),
]
METRICS = b"".join(json.dumps(record).encode() + b"\n" for record in RECORDS)
FAILURE = {"kind": "preemption", "reason": "the node goes", "time": 5.0, "deadline": 6.0}
STOP = {"reason": "now", "exit_code": 5, "at_once": False}
JOB = JobSpec().to_yaml().encode()

MUTATED_STATUS = (
    NO_OBJECTS | changed(STATUS) | changed(ALIVE) | damaged(json.dumps(STATUS).encode())
)
MUTATED_RESULT = NO_OBJECTS | changed(RESULT) | damaged(json.dumps(RESULT).encode())
LINE = NO_OBJECTS | st.one_of([changed(record) for record in RECORDS])
MUTATED_METRICS = damaged(METRICS) | st.builds(
    lambda lines: b"\n".join([METRICS, *lines]), st.lists(LINE, max_size=4)
)
ANSWERS = [
    ("list",),
    ("list", "--json"),
    ("list", "--state", "failed"),
    ("show", RUN_ID),
    ("show", RUN_ID, "--json"),
    ("show", "@last"),
    ("status", RUN_ID),
    ("describe", RUN_ID),
    ("describe", RUN_ID, "--json"),
    ("why", RUN_ID),
    ("logs", RUN_ID),
    ("delete", RUN_ID),
    ("wait", RUN_ID, "--timeout", "1ms"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up").mkdir()
    (tmp_path / "up" / "status.json").write_text(json.dumps({**STATUS, "run_id": "up"}))
    run = empty_run(tmp_path / "runs" / RUN_ID)
    rewrite(run)
    return run


def rewrite(run: RunFolder, **files: bytes) -> None:
    """Write all files of a run anew. `files` replaces some: `status`, `result`, `metrics`, ..."""
    defaults = {
        "job.yaml": JOB,
        "status.json": json.dumps(STATUS).encode(),
        "result.json": json.dumps(RESULT).encode(),
        "metrics.jsonl": METRICS,
        "provenance.json": b'{"python": "3"}',
        "logs/driver.log": b"2026-01-01 00:00:00.000 INFO hello\n",
    }
    for name, data in {**defaults, **{file_name(key): data for key, data in files.items()}}.items():
        run.storage.write(name, data)


def file_name(key: str) -> str:
    return {"metrics": "metrics.jsonl", "job": "job.yaml", "failures": "failures.jsonl"}.get(
        key, f"{key}.json"
    )


def answers(run: RunFolder, *commands: tuple[str, ...]) -> None:
    """Check that each command ends with an exit code, prints no traceback and changes no file."""
    root = run.storage.local_path
    assert root is not None
    before = files_in(root.parents[1])
    for command in commands or ANSWERS:
        done = CliRunner().invoke(main, command)
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            command,
            done.exc_info,
        )
        assert "Traceback" not in done.output
        if "--json" in command and done.exit_code == 0:
            json.loads(done.stdout)
    assert files_in(root.parents[1]) == before


@given(MUTATED_STATUS)
def test_any_status_is_answered(run: RunFolder, status: bytes) -> None:
    rewrite(run, status=status)
    answers(run)


@given(MUTATED_RESULT)
def test_any_result_is_answered(run: RunFolder, result: bytes) -> None:
    rewrite(run, result=result)
    rewrite(run, status=json.dumps({**STATUS, "state": "SUCCEEDED"}).encode(), result=result)
    answers(run)


@given(MUTATED_METRICS)
@pytest.mark.slow
def test_any_metrics_are_answered(run: RunFolder, metrics: bytes) -> None:
    rewrite(run, metrics=metrics)
    answers(run)
    assert MetricsTail(run).read() == run.read_metrics()[: len(MetricsTail(run).read())]


@given(NO_OBJECTS | damaged(JOB) | changed({"name": "x", "dataset": {}, "model": {}}))
@settings(max_examples=25)
@example(b"name: 2026-01-01\n")
@example(b"name: !!set {a}\n")
@example(b"? [a, b]\n: c\n")
def test_any_spec_is_answered_and_resumed_only_if_it_is_valid(run: RunFolder, job: bytes) -> None:
    rewrite(run, job=job)
    answers(run, ("describe", RUN_ID), ("describe", RUN_ID, "--json"), ("why", RUN_ID))
    if b"dataset:" not in job:
        return  # a spec without this key may be valid, and a resume would look for its data
    with contextlib.suppress(JobError):
        check_resumption(
            run, runs.read_status(run), FakeLauncher(), {"dataset.data_dir": "/nowhere"}
        )


def test_a_run_whose_spec_is_gone_is_described_and_not_resumed(run: RunFolder) -> None:
    run.storage.delete_file("job.yaml")
    answers(run)
    with pytest.raises(JobError, match=r"job\.yaml is missing"):
        check_resumption(run, runs.read_status(run), FakeLauncher(), {})


@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json", "provenance.json", "stop.json"])
def test_a_folder_in_place_of_a_file_is_reported(run: RunFolder, name: str) -> None:
    root = run.storage.local_path
    assert root is not None
    (root / name).unlink(missing_ok=True)
    (root / name).mkdir()
    answers(run)
    if name == "metrics.jsonl":
        with pytest.raises(JobError):
            MetricsTail(run).read()


@given(NO_OBJECTS | damaged(b'{"python": "3", "packages": {"torch": "2"}}'))
def test_any_provenance_is_answered(run: RunFolder, provenance: bytes) -> None:
    rewrite(run, provenance=provenance)
    answers(run, ("describe", RUN_ID), ("show", RUN_ID), ("show", RUN_ID, "--json"))


@given(st.lists(LINE | changed(FAILURE), max_size=4), MUTATED_METRICS)
def test_the_status_updater_survives_any_failures_and_metrics(
    run: RunFolder, failures: list[bytes], metrics: bytes
) -> None:
    rewrite(run, status=json.dumps(ALIVE).encode())
    updater = StatusUpdater(run, runs.read_status(run), Fence(run, 0, ""))
    rewrite(run, metrics=metrics, failures=b"\n".join(failures), status=json.dumps(ALIVE).encode())
    updater._read_failures()
    updater._read_records()
    assert run.num_failures() <= len(failures)
    run.note_failure("one more")
    assert run.failures()[-1]["reason"] == "one more"


@given(NO_OBJECTS | changed(STOP))
def test_any_stop_file_asks_for_a_stop_with_an_exit_code_or_for_nothing(
    run: RunFolder, stop: bytes
) -> None:
    rewrite(run, stop=stop)
    request = run.stop_request()
    assert request is None or (0 < request.exit_code < 256 and isinstance(request.reason, str))


@given(MUTATED_METRICS, ODD)
@settings(max_examples=80)
def test_a_result_and_a_report_can_be_made_from_any_metrics(
    run: RunFolder, metrics: bytes, reason: Any
) -> None:
    rewrite(run, metrics=metrics)
    status = RunStatus(RUN_ID, "FAILED", "local", reason=str(reason), exit_code=1)
    write_outcome(run, None, None, status, time.time())

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not valid JSON")

    result = json.loads(run.storage.read(run.RESULT), parse_constant=refuse)
    assert result["steps"] == max((r["step"] for r in run.read_metrics()), default=0)
    assert run.storage.exists(run.REPORT)


@given(MUTATED_METRICS)
def test_a_resumed_log_begins_with_complete_records_whatever_the_file_held(
    run: RunFolder, metrics: bytes
) -> None:
    rewrite(run, metrics=metrics)
    starts = [r for r in run.read_metrics() if r["kind"] == "start"]
    with MetricsLog(run, 1) as log:
        assert log.attempt == 1 + max((r["attempt"] for r in starts), default=0)
    for line in run.storage.read(run.METRICS).splitlines():
        json.loads(line)


# --- names ---

NAMES = st.text(max_size=20) | st.sampled_from(
    ["..", "../up", "../../up", "/etc", "/", ".", "", "-", "--", "@last", "@", "a\0b", "\udcff",
     "é", "r/", "r/..", "./r", "R", "r\n", "~", "~nobody-here", "x" * 129, "x" * 5000, "r/logs",
     "*"]
)  # fmt: skip


@given(NAMES)
@settings(max_examples=60)
def test_any_run_name_is_the_run_or_none(run: RunFolder, name: str) -> None:
    storage = Storage(run.storage.parent_uri)
    try:
        assert runs.find_run(storage, name).run_id == RUN_ID
    except JobError as error:
        assert error.exit_code == 4
    answers(run, ("show", "--", name), ("status", "--", name), ("stop", "--", f"../{name}"))


@given(NAMES)
@settings(max_examples=60)
def test_any_run_id_is_created_within_the_storage_or_refused(run: RunFolder, run_id: str) -> None:
    storage = Storage(run.storage.parent_uri)
    folder = storage.local_path
    assert folder is not None
    before = files_in(folder.parent)
    try:
        made = runs.create_run(storage, run_id, "name: x\n", "local")
    except JobError:
        assert files_in(folder.parent) == before
    else:
        assert made.storage.local_path == folder / run_id
        assert files_in(folder.parent, but=folder / run_id) == before
        made.storage.delete()


STORAGES = NAMES.filter(lambda text: text not in ("/", "")) | st.sampled_from(
    ["s3:/x", "://", "file://", "file:///\0", "file://host/x", "x://y", "http://[", "file:x", "s3://",
     "file:///x?y=z", "gs://", "up/status.json", "up/status.json/x", "runs/../up"]
)  # fmt: skip


@given(STORAGES)
@settings(max_examples=60)
def test_any_storage_is_listed_or_refused(run: RunFolder, storage: str) -> None:
    answers(run, ("list", "--storage", storage), ("show", "r", "--storage", storage))


# --- bugs that these tests once found ---


def test_a_run_is_named_by_its_folder_whatever_its_status_says(run: RunFolder) -> None:
    """A folder may be renamed, and a status must not lead `rnnjob delete` to another folder."""
    for name in ("other", "../up", "../../up"):
        rewrite(run, status=json.dumps({**STATUS, "run_id": name}).encode())
        storage = Storage(run.storage.parent_uri)
        assert [status.run_id for status in runs.list_runs(storage)] == [RUN_ID]
        assert runs.find_run(storage, "@last").storage == run.storage
        answers(run)


@pytest.mark.parametrize("reason", ["[/b] is no tag", "[red]x", "a :smile: b", "path[0]"])
def test_a_reason_is_shown_as_it_is(run: RunFolder, reason: str) -> None:
    """Brackets in a reason are not taken for markup of the terminal."""
    rewrite(run, status=json.dumps({**STATUS, "reason": reason}).encode())
    done = CliRunner().invoke(main, ("show", RUN_ID))
    assert done.exit_code == 0
    assert reason in done.stdout


@pytest.mark.parametrize("code", [0, True, -1, 256, 10**9, 5.0])
def test_a_stop_file_cannot_give_a_stopped_job_the_exit_code_of_a_success(
    run: RunFolder, code: object
) -> None:
    rewrite(run, stop=json.dumps({"exit_code": code}).encode())
    request = run.stop_request()
    assert request is not None
    assert request.exit_code == 5


def test_the_installed_command_answers_for_damaged_runs(rnnjob: Cli) -> None:
    run = empty_run(rnnjob.cwd / "runs" / RUN_ID)
    rewrite(run, status=json.dumps({**STATUS, "reason": "\ud800 [/x]"}).encode(), result=b"[]")
    for command in (("show", RUN_ID), ("status", RUN_ID), ("list",)):
        done = rnnjob(*command)
        assert (done.exit_code, done.stderr) == (0, "")
    rewrite(run, status=json.dumps({**STATUS, "pid": "seven"}).encode())
    done = rnnjob("show", RUN_ID)
    assert done.exit_code == 4
    assert "status.json is damaged: pid is 'seven'" in done.cause
