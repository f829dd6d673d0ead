"""rnnjob list: once for a program, again and again on a terminal."""

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
from orchestrator.job_spec import JobSpec
from tests.conftest import wait_for
from workers.storage import Storage

RNNJOB = Path(sys.executable).with_name("rnnjob")


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["list", *arguments])


def a_run(folder: Path, name: str) -> None:
    runs.create_run(Storage(str(folder / "runs")), name, JobSpec().to_yaml(), "local")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_only_the_last_are_listed_and_those_of_a_state(folder: Path) -> None:
    for number in range(3):
        a_run(folder, f"r{number}")
    assert rnnjob("-q").stdout.split() == ["r2", "r1", "r0"]
    shown = rnnjob("-n", "1")
    assert shown.stdout.splitlines()[1].split()[:3] == ["r2", "QUEUED", "local"]
    assert shown.stderr == "2 older ones: --all\n"
    assert rnnjob("--state", "queued", "-q", "-n", "2").stdout.split() == ["r2", "r1"]
    assert rnnjob("--state", "FAILED", "-q", "--all").stdout == ""


def test_a_state_that_there_is_not_is_refused_with_those_that_there_are() -> None:
    done = rnnjob("--state", "done")
    assert done.exit_code == 2
    assert all(state.lower() in done.stderr.lower() for state in runs.STATES)


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        (["--watch"], "stdout is none"),
        (["-w", "--json"], "--json prints once"),
        (["-w", "-q"], "-q prints once"),
    ],
)
def test_a_watch_that_nobody_could_see_is_refused(flags: list[str], cause: str) -> None:
    done = rnnjob(*flags)
    assert done.exit_code == 2
    assert cause in done.stderr and "Try: leave " in done.stderr


def test_a_watch_redraws_until_ctrl_c(folder: Path) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [str(RNNJOB), "list", "-w"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        start_new_session=True,
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    seen = ""

    def shows(text: str) -> bool:
        nonlocal seen
        with contextlib.suppress(OSError):  # nothing there, or the other end is closed
            seen += os.read(ours, 65536).decode()
        return text in seen

    try:
        wait_for(lambda: shows("no runs in "), timeout=30)
        a_run(folder, "later")
        begun = time.monotonic()
        wait_for(lambda: shows("later  QUEUED"), timeout=30)
        assert time.monotonic() - begun < 10
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 0
        shows("the rest")
        assert "Traceback" not in seen and "interrupted" not in seen
    finally:
        process.kill()
        process.wait()
        os.close(ours)
