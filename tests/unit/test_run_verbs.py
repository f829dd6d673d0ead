"""status, wait, describe, stop, delete, why: what they print and with which code they leave."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.job_spec import JobSpec
from orchestrator.runs import RunStatus
from workers.run_folder import PREEMPTION, RunFolder
from workers.storage import Storage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that a process of this machine has taken up: this one."""
    monkeypatch.chdir(tmp_path)
    return runs.create_run(Storage(str(tmp_path / "runs")), "r", JobSpec().to_yaml(), "local")


def end(run: RunFolder, state: str, exit_code: int, reason: str = "", cure: str = "") -> None:
    status = RunStatus(
        "r", state, "local", reason, cure, exit_code, 1, 1, submitted_at=1.0, ended_at=2.0
    )
    run.write_json(run.RESULT, {"state": state, "test_accuracy": 0.9876})
    runs.write_status(run, status)


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_status_is_one_line_and_exit_0_whatever_the_state(run: RunFolder) -> None:
    done = rnnjob("status", "r")
    assert (done.exit_code, done.stdout.count("\n")) == (0, 1)
    assert done.stdout.startswith("r  QUEUED, submitted ")
    end(run, runs.FAILED, 6, "no\nroom")
    done = rnnjob("status", "@last")
    assert done.exit_code == 0
    assert done.stdout.startswith("r  FAILED: no room, attempt 1, 1 worker(s), submitted ")
    assert json.loads(rnnjob("status", "r", "--json").stdout)["exit_code"] == 6


@pytest.mark.parametrize("code", [1, 2, 6])
def test_wait_leaves_with_the_code_of_the_job(run: RunFolder, code: int) -> None:
    end(run, runs.FAILED, code, "it broke", "mend it")
    done = rnnjob("wait", "r")
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == "Error: r FAILED: it broke\nTry: mend it\n"


def test_wait_tells_a_good_end_on_stdout_or_as_one_document(run: RunFolder) -> None:
    end(run, runs.SUCCEEDED, 0)
    assert rnnjob("wait", "r").stdout == "r SUCCEEDED, test accuracy 98.76%\n"
    assert json.loads(rnnjob("wait", "r", "--json").stdout)["test_accuracy"] == 0.9876


def test_a_wait_that_takes_too_long_is_124_and_says_that_it_was_the_wait(run: RunFolder) -> None:
    done = rnnjob("wait", "r", "--timeout", "1s")
    assert done.exit_code == 124
    assert "r is still QUEUED after 1s; the wait ended, the job goes on" in done.stderr
    assert "Try: rnnjob why r" in done.stderr
    assert rnnjob("wait", "r", "--timeout", "soon").exit_code == 2


def test_describe_has_all_that_is_known(run: RunFolder) -> None:
    end(run, runs.SUCCEEDED, 0)
    content = json.loads(rnnjob("describe", "r", "--json").stdout)
    assert content["spec"]["training"]["epochs"] == JobSpec().training.epochs
    assert content["files"] == ["job.yaml", "result.json", "status.json"]
    assert (content["num_files"], content["cluster"]) == (3, None)
    assert "run folder\n" in rnnjob("describe", "r").stdout


def test_each_restart_is_told_with_its_reason(run: RunFolder) -> None:
    run.note_failure("worker 1 failed: killed")
    run.note_failure("the node of worker 0 is taken away", PREEMPTION, deadline=9.0)
    end(run, runs.SUCCEEDED, 0)
    restarts = json.loads(rnnjob("describe", "r", "--json").stdout)["restarts"]
    assert [line.partition(" ")[2].partition(" ")[2] for line in restarts] == [
        "worker: worker 1 failed: killed",
        "preemption: the node of worker 0 is taken away",
    ]
    for verb in ("describe", "why"):
        told = rnnjob(verb, "r").stdout
        assert all(line in told for line in restarts), verb


def test_stop_asks_a_run_of_this_machine_and_cannot_force_it(run: RunFolder) -> None:
    assert rnnjob("stop", "r").exit_code == 0
    assert run.stop_request() is not None
    forced = rnnjob("cancel", "r", "--force")
    assert forced.exit_code == 2 and "not on a cluster" in forced.stderr
    end(run, runs.STOPPED, 5)
    again = rnnjob("stop", "r", "--force")
    assert again.exit_code == 2 and "ended already: STOPPED" in again.stderr


def test_why_answers_from_storage_alone(run: RunFolder) -> None:
    end(run, runs.FAILED, 1, "loss is nan", "lower --lr")
    done = rnnjob("why", "r")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == ["r is FAILED: unknown", "loss is nan", "Try: lower --lr"]
    content = json.loads(rnnjob("why", "r", "--json").stdout)
    assert set(content) == {
        "schema_version", "run_id", "state", "category", "cause", "evidence", "next",
    }  # fmt: skip


def test_delete_takes_finished_runs_only_and_asks(run: RunFolder) -> None:
    running = rnnjob("delete", "r", "-y")
    assert running.exit_code == 2 and "only a run that has ended" in running.stderr
    end(run, runs.FAILED, 1)
    unasked = rnnjob("rm", "r")
    assert unasked.exit_code == 2
    assert "3 files" in unasked.stderr and "rnnjob delete r --yes" in unasked.stderr
    assert run.storage.exists()
    assert rnnjob("rm", "r", "-y").exit_code == 0
    assert not run.storage.exists()
    assert rnnjob("rm", "r", "-y").exit_code == 4


@pytest.mark.parametrize(("reply", "code", "is_there"), [("n\n", 130, True), ("y\n", 0, False)])
def test_delete_asks_on_a_terminal(run: RunFolder, reply: str, code: int, is_there: bool) -> None:
    end(run, runs.FAILED, 1)
    ours, theirs = pty.openpty()
    os.write(ours, reply.encode())
    done = subprocess.run(
        [str(Path(sys.executable).with_name("rnnjob")), "delete", "r"],
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, run.storage.exists()) == (code, is_there)
    assert "3 files" in done.stderr


@pytest.mark.parametrize("verb", ["status", "wait", "describe", "stop", "delete", "why", "logs"])
def test_every_verb_has_help_and_knows_what_is_no_run(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = rnnjob(verb, "--help").stdout
    assert "RUN" in shown and "--storage" in shown and "--json" in shown
    assert rnnjob(verb, "nothing").exit_code == 4
