"""rnnjob logs: it reads the logs of a run from the run folder."""

import os
import re
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator import runs
from orchestrator.cli.runs.logs import logs_command
from orchestrator.client import Client
from orchestrator.runs import RunStatus, logs
from orchestrator.runs.logs import LogLine, read_logs
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that ended, with the logs of a driver and two workers."""
    run = runs.create_run(Storage(str(tmp_path)), "r", "name: x\n", "ray")
    runs.write_status(run, RunStatus("r", runs.SUCCEEDED, ended_at=1.0))
    write(run, "driver", "2026-01-01 00:00:00.000 INFO begin\n2026-01-01 00:00:09,000 end\n")
    write(run, "worker-0", "2026-01-01 00:00:02.000 ERROR bad\nTraceback:\n  here\n")
    write(run, "worker-10", "2026-01-01 00:00:01.500 INFO hello (1)\n")
    return run


def write(run: RunFolder, name: str, text: str) -> None:
    run.storage.child(run.LOGS).write(f"{name}.log", text.encode())


def invoke(run: RunFolder, *arguments: str) -> tuple[int, str, str]:
    storage = str(run.storage.local_path.parent) if run.storage.local_path else ""
    done = CliRunner().invoke(logs_command, ["r", "--storage", storage, *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_lines_are_ordered_by_time_and_a_traceback_stays_in_one_piece(run: RunFolder) -> None:
    texts = [f"{line.source} {line.text}" for line in read_logs(run)]
    assert [re.sub(r"[\d-]+ [\d:.,]+ ", "", text) for text in texts] == [
        "driver INFO begin",
        "worker-10 INFO hello (1)",
        "worker-0 ERROR bad",
        "worker-0 Traceback:",
        "worker-0   here",
        "driver end",
    ]


def test_a_line_knows_its_rank() -> None:
    assert LogLine("worker-10", "", "x").rank == 10
    assert LogLine("driver", "", "x").rank is None
    assert LogLine("worker-x", "", "x").rank is None


def test_an_incomplete_line_is_returned_once_it_is_complete(run: RunFolder) -> None:
    seen: dict[str, int] = {}
    read_logs(run, seen)
    assert read_logs(run, seen) == []
    path = run.storage.local_path
    assert path is not None
    with open(path / "logs" / "driver.log", "a") as file:
        file.write("half")
        file.flush()
        assert read_logs(run, seen) == []
        file.write(" and half\n")
    assert [line.text for line in read_logs(run, seen)] == ["half and half"]


def test_bytes_that_are_not_text_cause_no_error(run: RunFolder) -> None:
    run.storage.child(run.LOGS).write("driver.log", b"\xff\xfe ok\n")
    assert any("ok" in line.text for line in read_logs(run))


def test_a_run_without_logs_has_no_lines(tmp_path: Path) -> None:
    run = runs.create_run(Storage(str(tmp_path)), "empty", "", "ray")
    assert read_logs(run) == []


def test_tail_counts_only_the_lines_that_pass_the_filter(run: RunFolder) -> None:
    client = Client(str(Path(run.storage.uri).parent))
    last = client.logs("r", lambda line: line.rank == 0, tail=2)
    assert [line.text for line in last] == ["Traceback:", "  here"]
    assert list(client.logs("r", tail=0)) == []
    assert len(list(client.logs("r", tail=99))) == 6


def test_following_an_ended_run_returns(run: RunFolder) -> None:
    client = Client(str(Path(run.storage.uri).parent))
    assert len(list(client.logs("r", follow=True))) == 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), 6),
        (("--rank", "0"), 3),
        (("--rank", "10"), 1),
        (("--rank", "1"), 0),
        (("--rank", "driver"), 2),
        (("--grep", "INFO|ERROR"), 3),
        (("--grep", r"\(1\)"), 1),
        (("--tail", "2"), 2),
        (("--rank", "driver", "--grep", "end", "-f"), 1),
    ],
)
def test_the_flags_select_lines(run: RunFolder, arguments: tuple[str, ...], expected: int) -> None:
    exit_code, stdout, stderr = invoke(run, *arguments)
    assert exit_code == 0
    assert stdout.count("\n") == expected
    assert bool(stderr) == (expected == 0)


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [
        (("--grep", "("), "--grep '(' is not a regular expression"),
        (("--rank", "first"), "--rank 'first' is not a rank"),
        (("--rank", "-1"), "--rank '-1' is not a rank"),
        (("--json", "-f"), "--json prints one document"),
    ],
)
def test_an_invalid_selection_exits_with_2(
    run: RunFolder, arguments: tuple[str, ...], cause: str
) -> None:
    exit_code, stdout, stderr = invoke(run, *arguments)
    assert (exit_code, stdout) == (2, "")
    assert stderr.startswith(f"Error: {cause}") and "\nTry: " in stderr


# --- logs that a stranger wrote ---


def path_of(run: RunFolder, name: str) -> Path:
    assert run.storage.local_path
    return run.storage.local_path / run.LOGS / name


@pytest.mark.timeout(60)
def test_what_is_no_log_is_named_and_hides_no_other(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("my own\n")
    os.mkfifo(path_of(run, "worker-1.log"))
    path_of(run, "worker-2.log").symlink_to(tmp_path / "mine")
    path_of(run, "worker-3.log").symlink_to("nothing")
    seen: dict[str, int] = {}
    texts = [str(line) for line in read_logs(run, seen)]
    assert any("worker-1 | " in text and "is a named pipe, not a file" in text for text in texts)
    assert any("worker-2 | " in text and "through a symbolic link" in text for text in texts)
    assert any(text == "worker-10 | 2026-01-01 00:00:01.500 INFO hello (1)" for text in texts)
    assert not any("my own" in text for text in texts)
    assert read_logs(run, seen) == []


def test_a_log_of_blank_lines_or_of_one_long_line_takes_limited_memory(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MAX_BYTES", 2**22)
    path_of(run, "driver.log").write_bytes(b"\n" * 100_000 + b"\0" * 2**26 + b"\nlast\n")
    tracemalloc.start()
    try:
        lines = [line.text for line in read_logs(run) if line.source == "driver"]
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
    assert re.fullmatch(r"\([0-9,]+ lines are left out here\)", lines[0])
    assert lines[-1] == "last"
