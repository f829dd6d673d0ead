"""A worker or a process that is suspended is told by every verb, and can be started again."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest

from tests.conftest import ENOUGH_S, Cli

JOB = ("submit", "--dataset", "mnist-sample", "--epochs", "12", "--checkpoint-every", "4")


def status_of(rnnjob: Cli, run_id: str) -> dict[str, Any]:
    done = rnnjob("status", run_id, "--json")
    found: dict[str, Any] = done.json if done.exit_code == 0 else {}
    return found


def steps_of(rnnjob: Cli, run_id: str) -> int:
    metrics = rnnjob.cwd / "runs" / run_id / "metrics.jsonl"
    return metrics.read_text().count('"kind": "step"') if metrics.exists() else 0


@contextmanager
def suspended(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def a_worker_below(process: "subprocess.Popen[str]") -> int:
    """Return the process of one of the job's workers on Ray."""
    return next(
        child.pid
        for child in psutil.Process(process.pid).children(recursive=True)
        if "RayTrainWorker" in " ".join(child.cmdline())
    )


def test_a_suspended_process_is_told_by_all_verbs(rnnjob: Cli, waiting: Callable[..., Any]) -> None:
    process = rnnjob.start(*JOB, "--local", "--epochs", "5000", "--run-id", "r")
    waiting(lambda: steps_of(rnnjob, "r") > 5)
    assert status_of(rnnjob, "r")["stalled_since"] is None
    with suspended(process.pid):
        told = waiting(
            lambda: status_of(rnnjob, "r").get("stalled_since") and rnnjob("status", "r")
        )
        assert "r  RUNNING: it stands still since " in told.stdout
        assert f"(pid {process.pid} on " in told.stdout
        assert rnnjob("why", "r", "--json").json["category"] == "standstill"
        assert "r: it stands still since " in rnnjob("list").stderr
    waiting(lambda: status_of(rnnjob, "r")["stalled_since"] is None)
    process.terminate()
    process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 5


@pytest.mark.long
def test_a_suspended_worker_is_named_and_after_the_stall_timeout_started_again(
    rnnjob: Cli, waiting: Callable[..., Any], no_process_left: None
) -> None:
    expected = rnnjob(*JOB, "--local", "--json").json["weights_sha256"]
    limit = ("--set", "limits.stall_timeout=40s")
    process = rnnjob.start(*JOB, "--workers", "2", *limit, "--run-id", "r", "--json")
    waiting(lambda: steps_of(rnnjob, "r") > 8)
    pid = a_worker_below(process)
    with suspended(pid):
        waiting(lambda: status_of(rnnjob, "r").get("stalled_since"))
        answer = rnnjob("why", "r", "--json").json
        assert answer["category"] == "standstill"
        assert f"(pid {pid}), which gives no sign of life" in answer["cause"]
        stdout, stderr = process.communicate(timeout=ENOUGH_S)
    assert process.returncode == 0, stderr
    assert f'"weights_sha256": "{expected}"' in stdout
    restarts = rnnjob("describe", "r", "--json").json["restarts"]
    assert any("standstill: stood still for 40s after step" in line for line in restarts)
