"""rnnjob list: printed once for a program, redrawn on a terminal."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.spec.job_spec import JobSpec
from tests.conftest import ENOUGH_S, HANG_S, wait_for
from workers.storage.storage import Storage

RNNJOB = Path(sys.executable).with_name("rnnjob")


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["list", *arguments])


def create_run(folder: Path, name: str) -> None:
    runs.create_run(Storage(str(folder / "runs")), name, JobSpec().to_yaml(), "local")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_list_is_limited_to_the_last_runs_and_to_one_state(folder: Path) -> None:
    for number in range(3):
        create_run(folder, f"r{number}")
    assert rnnjob("-q").stdout.split() == ["r2", "r1", "r0"]
    shown = rnnjob("-n", "1")
    assert shown.stdout.splitlines()[1].split()[:3] == ["r2", "QUEUED", "local"]
    assert shown.stderr == "2 older runs are not listed; see them with --all\n"
    assert rnnjob("--state", "queued", "-q", "-n", "2").stdout.split() == ["r2", "r1"]
    assert rnnjob("--state", "FAILED", "-q", "--all").stdout == ""


@pytest.mark.parametrize("flags", [[], ["-q"], ["--json"], ["--state", "queued"]])
def test_a_run_whose_status_cannot_be_read_is_named(folder: Path, flags: list[str]) -> None:
    for name in ("a-pipe", "damaged", "fine", "no-run"):
        create_run(folder, name)
    (folder / "runs" / "no-run" / "status.json").unlink()
    (folder / "runs" / "damaged" / "status.json").write_text("{}")
    (folder / "runs" / "a-pipe" / "status.json").unlink()
    os.mkfifo(folder / "runs" / "a-pipe" / "status.json")
    done = rnnjob(*flags)
    assert done.exit_code == 0
    assert "fine" in done.stdout and "damaged" not in done.stdout
    assert done.stderr.splitlines() == [
        f"not listed: {folder}/runs/a-pipe/status.json is a named pipe, not a file",
        f"not listed: {folder}/runs/damaged holds no run",
    ]


def test_an_unknown_state_is_refused_with_the_valid_ones() -> None:
    done = rnnjob("--state", "done")
    assert done.exit_code == 2
    assert all(state.lower() in done.stderr.lower() for state in runs.STATES)


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (["--watch"], "stdout is not a terminal"),
        (["-w", "--json"], "--json prints once"),
        (["-w", "-q"], "-q prints once"),
    ],
)
def test_watch_is_refused_if_nobody_could_see_it(flags: list[str], cause: str) -> None:
    done = rnnjob(*flags)
    assert done.exit_code == 2
    assert cause in done.stderr and "Try: leave " in done.stderr


@pytest.mark.slow
def test_a_watch_redraws_until_ctrl_c(folder: Path) -> None:
    our_end, their_end = pty.openpty()
    process = subprocess.Popen(
        [str(RNNJOB), "list", "-w"],
        stdin=their_end,
        stdout=their_end,
        stderr=their_end,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    )
    os.close(their_end)
    os.set_blocking(our_end, False)
    seen = ""

    def shows(text: str) -> bool:
        nonlocal seen
        with contextlib.suppress(OSError):  # nothing to read yet, or the other end is closed
            seen += os.read(our_end, 65536).decode()
        return text in seen

    try:
        wait_for(lambda: shows("no runs in "))
        create_run(folder, "later")
        begun = time.monotonic()
        wait_for(lambda: shows("later  QUEUED"))
        assert time.monotonic() - begun < HANG_S
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=ENOUGH_S) == 0
        shows("the rest")
        assert "Traceback" not in seen and "interrupted" not in seen
    finally:
        process.kill()
        process.wait()
        os.close(our_end)
