"""Reading the files of a run while other processes write them."""

import json
from pathlib import Path

import pytest

from tests.unit.runs.whole_records import epoch, start, step
from workers.records.metrics_log import MetricsLog
from workers.records.run_folder import MetricsTail, RunFolder, StopPoller, StopRequest
from workers.storage.typed_json import Json


@pytest.fixture(params=["path", "file URI"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunFolder:
    folder = tmp_path / "runs" / "run-1"
    folder.mkdir(parents=True)
    return RunFolder.at(str(folder) if request.param == "path" else f"file://{folder}")


def metrics_path(run: RunFolder) -> Path:
    assert run.storage.local_path is not None
    return run.storage.local_path / "metrics.jsonl"


def test_the_run_id_is_the_folders_name(run: RunFolder) -> None:
    assert run.run_id == "run-1"
    assert RunFolder.at("/a/b/run-2/").run_id == "run-2"


def test_json_comes_back_and_damage_or_absence_is_none(run: RunFolder) -> None:
    run.write_json("x.json", {"a": [1, None, 0.5]})
    assert run.read_json("x.json") == {"a": [1, None, 0.5]}
    assert run.read_json("none.json") is None
    for damaged in (b'{"a": 1', b"[1]", b"", b"\xff"):
        run.storage.write("x.json", damaged)
        assert run.read_json("x.json") is None


def test_an_incomplete_last_line_of_the_metrics_is_left_out(run: RunFolder) -> None:
    assert run.read_metrics() == []
    whole = json.dumps(step(1)) + "\n" + json.dumps(step(2)) + "\n"
    metrics_path(run).write_text(whole + '{"kind": "step", "st')
    assert run.read_metrics() == [step(1), step(2)]


def test_lines_that_are_not_records_are_left_out(run: RunFolder) -> None:
    metrics_path(run).write_bytes(b"[1]\n\n\xff\xfe\n" + json.dumps(step(1)).encode() + b"\n7\n")
    assert run.read_metrics() == [step(1)]


def test_a_stop_request_comes_back_and_can_be_cleared(run: RunFolder) -> None:
    assert run.stop_request() is None
    run.ask_to_stop(StopRequest("time limit", 124))
    assert run.stop_request() == StopRequest("time limit", 124)
    assert StopPoller(run)() == StopRequest("time limit", 124)
    run.ask_to_stop(StopRequest("somebody else"))
    assert run.stop_request() == StopRequest("time limit", 124), "the first request was replaced"
    run.ask_to_stop(StopRequest("now", at_once=True))
    assert run.stop_request() == StopRequest("now", at_once=True)
    run.forget_stop()
    run.forget_stop()
    assert run.stop_request() is None


def test_a_stop_request_without_an_exit_code_means_5(run: RunFolder) -> None:
    run.write_json("stop.json", {"reason": "by hand"})
    assert run.stop_request() == StopRequest("by hand", 5)


@pytest.mark.parametrize("content", [{}, {"exit_code": None}, {"exit_code": "now"}, {"reason": 3}])
def test_a_stop_file_written_by_hand_stops_the_job_too(run: RunFolder, content: Json) -> None:
    run.write_json("stop.json", content)
    request = run.stop_request()
    assert request is not None
    assert request.exit_code == 5


def test_a_stop_poller_looks_again_only_after_a_while(run: RunFolder) -> None:
    poll = StopPoller(run)
    assert poll() is None
    run.ask_to_stop(StopRequest("now"))
    assert poll() is None, "it looked again at once"


def test_the_tail_returns_each_record_once_and_only_when_its_line_is_complete(
    run: RunFolder,
) -> None:
    tail = MetricsTail(run)
    assert tail.read() == []
    path = metrics_path(run)
    line = json.dumps(step(2)) + "\n"
    path.write_text(json.dumps(step(1)) + "\n" + line[:9])
    assert tail.read() == [step(1)]
    assert tail.read() == []
    with path.open("a") as file:
        file.write(line[9:-1])
    assert tail.read() == []
    with path.open("a") as file:
        file.write("\n")
    assert tail.read() == [step(2)]
    assert tail.read() == []


def test_the_tail_begins_again_if_the_file_was_rewritten(run: RunFolder) -> None:
    tail = MetricsTail(run)
    run.storage.write("metrics.jsonl", (json.dumps(step(1)) + "\n" + json.dumps(step(2))).encode())
    assert tail.read() == [step(1)]
    run.storage.write("metrics.jsonl", (json.dumps(step(1)) + "\n").encode())
    assert tail.read() == [step(1)]


def test_the_tail_skips_lines_that_are_not_records(run: RunFolder) -> None:
    metrics_path(run).write_bytes(b"torn{\n" + json.dumps(step(1)).encode() + b"\n")
    assert MetricsTail(run).read() == [step(1)]


def test_a_resumed_log_drops_the_records_after_the_checkpoint(run: RunFolder) -> None:
    with MetricsLog(run, 0) as log:
        assert log.attempt == 1
        for record in (start(), step(1), step(2), step(3)):
            log.write(record)
    with metrics_path(run).open("a") as file:
        file.write('{"kind": "step", "st')  # torn by a crash
    with MetricsLog(run, 2) as log:
        assert log.attempt == 2
        log.write(start(2, attempt=2))
        log.write(step(3))
    assert [r["step"] for r in run.read_metrics()] == [0, 1, 2, 2, 3]
    with MetricsLog(run, 0) as log:
        assert log.attempt == 3
    assert [r["kind"] for r in run.read_metrics()] == ["start", "start"]


def test_a_record_of_an_epoch_is_on_disk_as_soon_as_it_is_written(run: RunFolder) -> None:
    with MetricsLog(run, 0) as log:
        log.write(epoch(1, 3))
        assert run.read_metrics() == [epoch(1, 3)]


def test_the_sink_receives_each_record(run: RunFolder) -> None:
    seen: list[Json] = []
    with MetricsLog(run, 0, seen.append) as log:
        log.write(step(1))
    assert seen == [step(1)]
