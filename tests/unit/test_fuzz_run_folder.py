"""Run folders that somebody else wrote: every command answers, or says in a line what is wrong."""

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
from orchestrator.job_spec import JobSpec
from orchestrator.outcome import write_outcome
from orchestrator.resumption import check_again
from orchestrator.runs import RunStatus
from orchestrator.watch import Watch
from tests.conftest import Cli
from tests.unit.hostile import NO_OBJECTS, ODD, changed, damaged, files_in
from tests.unit.whole_records import epoch, outcome, start, step
from workers.errors import JobError
from workers.metrics_log import MetricsLog
from workers.run_folder import MetricsTail, RunFolder
from workers.storage import Storage

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
    run = RunFolder(Storage(str(tmp_path / "runs" / RUN_ID)))
    rewrite(run)
    return run


def rewrite(run: RunFolder, **files: bytes) -> None:
    """A run as it was, but for some files: `status`, `result`, `metrics`, ..."""
    whole = {
        "job.yaml": JOB,
        "status.json": json.dumps(STATUS).encode(),
        "result.json": json.dumps(RESULT).encode(),
        "metrics.jsonl": METRICS,
        "provenance.json": b'{"python": "3"}',
        "logs/driver.log": b"2026-01-01 00:00:00.000 INFO hello\n",
    }
    for name, data in {**whole, **{names(key): data for key, data in files.items()}}.items():
        run.storage.write(name, data)


def names(key: str) -> str:
    return {"metrics": "metrics.jsonl", "job": "job.yaml", "failures": "failures.jsonl"}.get(
        key, f"{key}.json"
    )


def answers(run: RunFolder, *commands: tuple[str, ...]) -> None:
    """Each command ends with an exit code, never with a traceback, and touches nothing."""
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
def test_any_metrics_are_answered(run: RunFolder, metrics: bytes) -> None:
    rewrite(run, metrics=metrics)
    answers(run)
    assert MetricsTail(run).read() == run.read_metrics()[: len(MetricsTail(run).read())]


@given(NO_OBJECTS | damaged(JOB) | changed({"name": "x", "dataset": {}, "model": {}}))
@settings(max_examples=25)
@example(b"name: 2026-01-01\n")
@example(b"name: !!set {a}\n")
@example(b"? [a, b]\n: c\n")
def test_any_spec_is_answered_and_resumed_only_where_it_is_one(run: RunFolder, job: bytes) -> None:
    rewrite(run, job=job)
    answers(run, ("describe", RUN_ID), ("describe", RUN_ID, "--json"), ("why", RUN_ID))
    if b"dataset:" not in job:
        return  # a whole one would go on to look for its data
    with contextlib.suppress(JobError):
        check_again(run, "local", {"dataset.data_dir": "/nowhere"})


def test_a_run_whose_spec_is_gone_is_described_and_not_resumed(run: RunFolder) -> None:
    run.storage.delete_file("job.yaml")
    answers(run)
    with pytest.raises(JobError, match=r"job\.yaml is missing"):
        check_again(run, "local", {})


@pytest.mark.parametrize("name", ["metrics.jsonl", "result.json", "provenance.json", "stop.json"])
def test_a_folder_where_a_file_should_be_is_told(run: RunFolder, name: str) -> None:
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
def test_who_watches_a_run_survives_any_failures_and_metrics(
    run: RunFolder, failures: list[bytes], metrics: bytes
) -> None:
    rewrite(run, status=json.dumps(ALIVE).encode())
    watch = Watch(run, runs.read_status(run), leave=lambda: None)
    rewrite(run, metrics=metrics, failures=b"\n".join(failures), status=json.dumps(ALIVE).encode())
    watch._see_failures()
    watch._see_starts()
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
def test_a_result_and_a_report_are_made_of_any_metrics(
    run: RunFolder, metrics: bytes, reason: Any
) -> None:
    rewrite(run, metrics=metrics)
    status = RunStatus(RUN_ID, "FAILED", "local", reason=str(reason), exit_code=1)
    write_outcome(run, None, None, status, time.time())

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    result = json.loads(run.storage.read(run.RESULT), parse_constant=refuse)
    assert result["steps"] == max((r["step"] for r in run.read_metrics()), default=0)
    assert run.storage.exists(run.REPORT)


@given(MUTATED_METRICS)
def test_a_resumed_log_begins_with_whole_records_whatever_was_there(
    run: RunFolder, metrics: bytes
) -> None:
    rewrite(run, metrics=metrics)
    whole = [r for r in run.read_metrics() if r["kind"] == "start"]
    with MetricsLog(run, 1) as log:
        assert log.attempt == 1 + max((r["attempt"] for r in whole), default=0)
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
def test_any_run_id_is_made_within_the_storage_or_refused(run: RunFolder, run_id: str) -> None:
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


# --- found so ---


def test_a_run_is_named_by_its_folder_whatever_its_status_says(run: RunFolder) -> None:
    """A folder that was renamed; and one that would lead rnnjob delete elsewhere."""
    for name in ("other", "../up", "../../up"):
        rewrite(run, status=json.dumps({**STATUS, "run_id": name}).encode())
        storage = Storage(run.storage.parent_uri)
        assert [status.run_id for status in runs.list_runs(storage)] == [RUN_ID]
        assert runs.find_run(storage, "@last").storage == run.storage
        answers(run)


@pytest.mark.parametrize("reason", ["[/b] is no tag", "[red]x", "a :smile: b", "path[0]"])
def test_a_reason_is_shown_as_it_is(run: RunFolder, reason: str) -> None:
    """Brackets are no markup of the terminal's."""
    rewrite(run, status=json.dumps({**STATUS, "reason": reason}).encode())
    done = CliRunner().invoke(main, ("show", RUN_ID))
    assert done.exit_code == 0
    assert reason in done.stdout


@pytest.mark.parametrize("code", [0, True, -1, 256, 10**9, 5.0])
def test_a_stop_file_cannot_make_a_stopped_job_a_good_one(run: RunFolder, code: object) -> None:
    rewrite(run, stop=json.dumps({"exit_code": code}).encode())
    request = run.stop_request()
    assert request is not None
    assert request.exit_code == 5


def test_the_installed_command_answers_for_damaged_runs(rnnjob: Cli) -> None:
    run = RunFolder(Storage(str(rnnjob.cwd / "runs" / RUN_ID)))
    rewrite(run, status=json.dumps({**STATUS, "reason": "\ud800 [/x]"}).encode(), result=b"[]")
    for command in (("show", RUN_ID), ("status", RUN_ID), ("list",)):
        done = rnnjob(*command)
        assert (done.exit_code, done.stderr) == (0, "")
    rewrite(run, status=json.dumps({**STATUS, "pid": "seven"}).encode())
    done = rnnjob("show", RUN_ID)
    assert done.exit_code == 4
    assert "status.json is damaged: pid is 'seven'" in done.cause
