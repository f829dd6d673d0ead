"""A run has one owner at a time, and what was deleted does not come back."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ENOUGH_S, GONE_S, Cli, Finished

EPOCHS = 8
STEPS = EPOCHS * 8  # 3,667 rows, 512 a step
JOB = ("submit", "--dataset", "mnist-sample", "--epochs", str(EPOCHS), "--run-id", "run")
ENDLESS = (*JOB, "--set", "training.epochs=500")
"""A job that does not end before the test ends it."""
HELD = ("run is held by process ", "run is RUNNING", "run is PENDING", "run is QUEUED")


@pytest.fixture
def folder(rnnjob: Cli) -> Path:
    return rnnjob.cwd / "runs" / "run"


def steps(folder: Path) -> list[int]:
    try:
        lines = (folder / "metrics.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    records = [json.loads(line) for line in lines if line.endswith("}")]
    return [record["step"] for record in records if record["kind"] == "step"]


def finish(process: "subprocess.Popen[str]") -> Finished:
    stdout, stderr = process.communicate(timeout=ENOUGH_S)
    return Finished(process.returncode, stdout, stderr)


def resume_at_once(rnnjob: Cli, *flags: tuple[str, ...]) -> tuple[Finished, list[Finished]]:
    """Resume the run by several commands at the same moment.

    Returns the one that took it up, and those that were refused.
    """
    started = [rnnjob.start("resume", "run", *each) for each in flags]
    done = [finish(process) for process in started]
    refused = [each for each in done if each.exit_code == 2]
    (took,) = (each for each in done if each.exit_code != 2)
    for each in refused:
        assert each.cause.startswith(HELD), each.stderr
    return took, refused


def test_of_two_that_resume_a_run_at_the_same_moment_one_trains(rnnjob: Cli, folder: Path) -> None:
    whole = rnnjob(*JOB[:-1], "whole", "--local", "--json").json["weights_sha256"]
    assert rnnjob(*JOB, "--local", "--set", "limits.steps=20").exit_code == 5
    flags = ("--local", "--set", "limits.steps=40")
    took, refused = resume_at_once(rnnjob, flags, flags)
    assert took.exit_code == 5 and len(refused) == 1, took.stderr
    assert steps(folder) == list(range(1, 41))
    took, refused = resume_at_once(rnnjob, ("--local", "--json"), ("--local",), ("--local",))
    assert took.exit_code == 0 and len(refused) == 2, took.stderr
    assert steps(folder) == list(range(1, STEPS + 1))
    assert json.loads((folder / "result.json").read_text())["weights_sha256"] == whole


@pytest.mark.long
def test_of_resumes_here_and_on_ray_at_the_same_moment_one_trains(
    rnnjob: Cli, folder: Path, no_process_left: None
) -> None:
    assert rnnjob(*JOB, "--local", "--set", "limits.steps=20").exit_code == 5
    took, refused = resume_at_once(rnnjob, ("--local",), ("--workers", "1"))
    assert took.exit_code == 0 and len(refused) == 1, took.stderr
    assert steps(folder) == list(range(1, STEPS + 1))


def test_a_run_that_trains_is_not_resumed_and_says_who_holds_it(
    rnnjob: Cli, folder: Path, waiting: Callable[..., Any]
) -> None:
    """Also if its status was lost: the owner counts."""
    process = rnnjob.start(*ENDLESS, "--local")
    waiting(lambda: len(steps(folder)) > 3)
    status = json.loads((folder / "status.json").read_text())
    ended = {**status, "state": "FAILED", "ended_at": 1.0}
    process.send_signal(signal.SIGSTOP)
    (folder / "status.json").write_text(json.dumps(ended))
    refused = rnnjob("resume", "run", "--local")
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.communicate(timeout=ENOUGH_S)
    assert refused.exit_code == 2
    assert refused.cause.startswith(f"run is held by process {process.pid} on ")
    assert " since 20" in refused.cause and refused.cause.endswith(" UTC")


def test_a_process_whose_run_was_taken_over_ends_and_leaves_it_alone(
    rnnjob: Cli, folder: Path, waiting: Callable[..., Any]
) -> None:
    process = rnnjob.start(*ENDLESS, "--local")
    waiting(lambda: len(steps(folder)) > 3)
    process.send_signal(signal.SIGSTOP)  # a machine that is suspended, or cut off
    owner = json.loads((folder / "owners" / "1.json").read_text())
    successor = {**owner, "term": 2, "token": "x", "host": "other", "job_id": "run.1"}
    (folder / "owners" / "2.json").write_text(json.dumps(successor))
    taken = {**json.loads((folder / "status.json").read_text()), "host": "other", "job_id": "run.1"}
    (folder / "status.json").write_text(json.dumps(taken))
    process.send_signal(signal.SIGCONT)
    before = time.monotonic()
    left = finish(process)
    assert time.monotonic() - before < GONE_S
    assert left.exit_code == 5
    assert f"Error: the run was taken over by process {process.pid} on other, since " in left.stderr
    assert "Traceback" not in left.stderr
    assert json.loads((folder / "status.json").read_text()) == taken
    assert not (folder / "result.json").exists()


@pytest.mark.parametrize("where", ["--local", pytest.param("--workers=1", marks=pytest.mark.long)])
def test_nothing_comes_back_of_a_run_folder_that_was_deleted(
    rnnjob: Cli,
    folder: Path,
    waiting: Callable[..., Any],
    no_process_left: None,
    where: str,
) -> None:
    process = rnnjob.start(*ENDLESS, where, "--checkpoint-every", "5")
    waiting(lambda: len(steps(folder)) > 10)
    descendants = psutil.Process(process.pid).children(recursive=True)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)  # a file may have been written in between
    done = finish(process)
    assert done.exit_code == 4
    assert f"Error: {os.path.realpath(folder)} was deleted meanwhile" in done.stderr
    assert "Traceback" not in done.stderr
    waiting(lambda: not any(child.is_running() for child in descendants), timeout=GONE_S)
    assert list(folder.parent.iterdir()) == []
