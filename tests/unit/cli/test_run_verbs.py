"""Output and exit codes of status, wait, describe, stop, delete and why."""

import json
import os
import pty
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator import runs
from orchestrator.cli import main
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from tests.conftest import ENOUGH_S
from workers.records.run_folder import PREEMPTION, RunFolder
from workers.storage.storage import Storage


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of this machine that this process has created."""
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
def test_wait_exits_with_the_exit_code_of_the_job(run: RunFolder, code: int) -> None:
    end(run, runs.FAILED, code, "it broke", "mend it")
    done = rnnjob("wait", "r")
    assert (done.exit_code, done.stdout) == (code, "")
    assert done.stderr == "Error: r FAILED: it broke\nTry: mend it\n"


def test_wait_prints_success_on_stdout_as_a_line_or_as_json(run: RunFolder) -> None:
    end(run, runs.SUCCEEDED, 0)
    assert rnnjob("wait", "r").stdout == "r SUCCEEDED, test accuracy 98.76%\n"
    assert json.loads(rnnjob("wait", "r", "--json").stdout)["test_accuracy"] == 0.9876


def test_a_wait_that_times_out_exits_with_124_and_says_that_the_job_goes_on(run: RunFolder) -> None:
    done = rnnjob("wait", "r", "--timeout", "1s")
    assert done.exit_code == 124
    assert "r is still QUEUED after 1s; the wait ended, the job goes on" in done.stderr
    assert "Try: rnnjob why r" in done.stderr
    assert rnnjob("wait", "r", "--timeout", "soon").exit_code == 2


def test_describe_prints_all_details(run: RunFolder) -> None:
    end(run, runs.SUCCEEDED, 0)
    content = json.loads(rnnjob("describe", "r", "--json").stdout)
    assert content["spec"]["training"]["epochs"] == JobSpec().training.epochs
    assert content["files"] == ["job.yaml", "result.json", "status.json"]
    assert (content["num_files"], content["cluster"]) == (3, None)
    assert "run folder\n" in rnnjob("describe", "r").stdout


def test_each_restart_is_printed_with_its_reason(run: RunFolder) -> None:
    run.note_failure("worker 1 failed: killed")
    run.note_failure("the node of worker 0 is taken away", PREEMPTION, deadline=9.0)
    end(run, runs.SUCCEEDED, 0)
    restarts = json.loads(rnnjob("describe", "r", "--json").stdout)["restarts"]
    assert [line.partition(" ")[2].partition(" ")[2] for line in restarts] == [
        "worker: worker 1 failed: killed",
        "preemption: the node of worker 0 is taken away",
    ]
    for verb in ("describe", "why"):
        output = rnnjob(verb, "r").stdout
        assert all(line in output for line in restarts), verb


def test_stop_speaks_of_a_step_and_a_checkpoint_only_once_there_are_some(run: RunFolder) -> None:
    assert rnnjob("stop", "r").stderr == "r will stop before it begins: rnnjob wait r\n"
    runs.write_status(run, replace(runs.read_status(run), state=runs.RUNNING, attempt=1))
    assert "r will stop after its current step, with a checkpoint" in rnnjob("stop", "r").stderr


def test_stop_asks_a_run_on_this_machine_to_stop_and_cannot_force_it(run: RunFolder) -> None:
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


def test_delete_removes_only_ended_runs_and_asks_first(run: RunFolder) -> None:
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


@pytest.mark.parametrize(("reply", "code", "exists"), [("n\n", 130, True), ("y\n", 0, False)])
def test_delete_asks_on_a_terminal(run: RunFolder, reply: str, code: int, exists: bool) -> None:
    end(run, runs.FAILED, 1)
    our_end, their_end = pty.openpty()
    os.write(our_end, reply.encode())
    done = subprocess.run(
        [str(Path(sys.executable).with_name("rnnjob")), "delete", "r"],
        stdin=their_end,
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )
    os.close(our_end)
    os.close(their_end)
    assert (done.returncode, run.storage.exists()) == (code, exists)
    assert "3 files" in done.stderr


@pytest.mark.parametrize("verb", ["status", "wait", "describe", "stop", "delete", "why", "logs"])
def test_every_verb_has_help_and_exits_with_4_if_the_run_does_not_exist(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = rnnjob(verb, "--help").stdout
    assert "RUN" in shown and "--storage" in shown and "--json" in shown
    assert rnnjob(verb, "nothing").exit_code == 4
