"""A follower reads the run folder of a job. It asks the launcher only whether the job runs."""

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import runs
from orchestrator.observe import follow as following
from orchestrator.observe.follow import Left, Terminated, follow
from tests.unit.fakes import FakeLauncher, FakeView
from tests.unit.runs import whole_records
from workers.errors import GoneError, TakenOverError
from workers.records.owners import read_owner
from workers.records.ownership import take
from workers.records.run_folder import RunFolder, StopRequest
from workers.storage.storage import Storage

Look = Callable[[RunFolder], None]
"""What happens when the follower asks the launcher whether the job runs."""


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return runs.create_run(Storage(str(tmp_path / "runs")), "run-1", "name: x\n", "fake")


@pytest.fixture
def view() -> FakeView:
    return FakeView()


def state(name: str, **more: Any) -> Look:
    def look(run: RunFolder) -> None:
        runs.write_status(run, replace(runs.read_status(run), state=name, **more))

    return look


def ends(name: str = "SUCCEEDED", exit_code: int = 0, reason: str = "") -> Look:
    return state(name, exit_code=exit_code, reason=reason, ended_at=9.0)


def interrupt(error: type[BaseException] = KeyboardInterrupt) -> Look:
    def look(run: RunFolder) -> None:
        raise error

    return look


def nothing(run: RunFolder) -> None:
    pass


def test_a_job_is_shown_until_it_ends(run: RunFolder, view: FakeView) -> None:
    def step(run: RunFolder) -> None:
        run.storage.write(run.METRICS, json.dumps(whole_records.step(1)).encode() + b"\n")

    launcher = FakeLauncher(nothing, state("RUNNING"), step, ends())
    status = follow(run, launcher, view)
    assert (status.state, status.exit_code) == ("SUCCEEDED", 0)
    assert view.states == ["QUEUED", "RUNNING", "SUCCEEDED"]
    assert view.records == [whole_records.step(1)]
    assert view.notes == [] and not launcher.killed


def test_an_outcome_counts_once_the_process_is_gone(run: RunFolder, view: FakeView) -> None:
    """A driver that has written its outcome may still be ending its workers."""
    looks = 0

    def look(run: RunFolder) -> None:
        nonlocal looks
        looks += 1

    follow(run, FakeLauncher(ends(), look, look), view)
    assert looks == 2


def test_a_cluster_is_not_waited_for_once_there_is_an_outcome(
    run: RunFolder, view: FakeView
) -> None:
    never = interrupt(AssertionError)
    status = follow(run, FakeLauncher(ends(), never, leaves_on_interrupt=True), view)
    assert status.state == "SUCCEEDED"


@pytest.mark.parametrize(
    ("error", "reason", "exit_code"),
    [
        (KeyboardInterrupt, "interrupted by Ctrl-C", 130),
        (Terminated, "terminated by SIGTERM", 5),
    ],
)
def test_the_first_interrupt_asks_for_a_stop_with_a_checkpoint(
    run: RunFolder, view: FakeView, error: type[BaseException], reason: str, exit_code: int
) -> None:
    asked: list[StopRequest | None] = []

    def stops(run: RunFolder) -> None:
        asked.append(run.stop_request())
        ends("STOPPED", exit_code, reason)(run)

    launcher = FakeLauncher(state("RUNNING"), interrupt(error), stops)
    status = follow(run, launcher, view)
    assert asked == [StopRequest(reason, exit_code)]
    assert (status.state, status.exit_code, status.reason) == ("STOPPED", exit_code, reason)
    assert "once more ends it at once" in view.notes[0]
    assert not launcher.killed


def test_the_second_interrupt_ends_the_job_at_once(run: RunFolder, view: FakeView) -> None:
    launcher = FakeLauncher(state("RUNNING"), interrupt(), nothing, interrupt(), nothing)
    status = follow(run, launcher, view)
    assert launcher.killed
    assert (status.state, status.exit_code) == ("STOPPED", 130)
    assert status.reason == "interrupted by Ctrl-C, twice: ended at once"
    assert "rnnjob resume run-1" in status.cure
    assert status.has_outcome and runs.read_status(run) == status


def test_a_second_interrupt_while_the_first_is_answered_ends_the_job_too(
    run: RunFolder, view: FakeView
) -> None:
    """It used to escape from the follower, and the run was left without an outcome."""

    def press_again() -> None:
        raise KeyboardInterrupt

    view.at_note = press_again
    launcher = FakeLauncher(state("RUNNING"), interrupt(), nothing, nothing)
    status = follow(run, launcher, view)
    assert launcher.killed
    assert (status.state, status.exit_code) == ("STOPPED", 130)
    assert status.reason == "interrupted by Ctrl-C, twice: ended at once"


def test_an_outcome_that_came_before_the_kill_is_kept(run: RunFolder, view: FakeView) -> None:
    launcher = FakeLauncher(interrupt(), interrupt(), at_kill=ends("SUCCEEDED"))
    status = follow(run, launcher, view)
    assert launcher.killed
    assert (status.state, status.exit_code) == ("SUCCEEDED", 0)
    assert runs.read_status(run).state == "SUCCEEDED"


def test_a_third_interrupt_while_it_is_killed_still_leaves_an_outcome(
    run: RunFolder, view: FakeView
) -> None:
    launcher = FakeLauncher(interrupt(), interrupt(Terminated), at_kill=interrupt())
    status = follow(run, launcher, view)
    assert (status.state, status.exit_code) == ("STOPPED", 5)
    assert status.reason == "terminated by SIGTERM, twice: ended at once"


def test_an_interrupt_leaves_a_job_that_goes_on_without_its_follower(
    run: RunFolder, view: FakeView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_SECOND_PRESS_S", 0.05)
    launcher = FakeLauncher(state("RUNNING"), interrupt(), nothing, leaves_on_interrupt=True)
    with pytest.raises(Left):
        follow(run, launcher, view)
    assert run.stop_request() is None, "the job was asked to stop"
    assert runs.read_status(run).state == "RUNNING"
    assert not launcher.killed
    assert "the job goes on" in view.notes[0]


def test_a_second_interrupt_soon_after_stops_it_instead(run: RunFolder, view: FakeView) -> None:
    press_again = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    view.at_note = press_again.start
    launcher = FakeLauncher(
        interrupt(), nothing, ends("STOPPED", 130, "interrupted"), leaves_on_interrupt=True
    )
    status = follow(run, launcher, view)
    assert run.stop_request() == StopRequest("interrupted by Ctrl-C", 130)
    assert status.state == "STOPPED"
    assert "Press Ctrl-C again" in view.notes[0] and "stopping" in view.notes[1]
    assert not launcher.killed


def test_a_job_that_dies_without_an_outcome_failed_with_its_last_output(
    run: RunFolder, view: FakeView
) -> None:
    launcher = FakeLauncher(state("RUNNING"), why="it last printed: Segmentation fault")
    status = follow(run, launcher, view)
    assert (status.state, status.exit_code) == ("FAILED", 1)
    assert "it last printed: Segmentation fault" in status.reason
    assert "rnnjob logs run-1" in status.cure and "rnnjob resume run-1" in status.cure
    assert runs.read_status(run) == status
    result = run.read_json(run.RESULT)
    assert result is not None and result["state"] == "FAILED"


def test_a_job_that_dies_without_any_output_failed_too(run: RunFolder, view: FakeView) -> None:
    status = follow(run, FakeLauncher(nothing), view)
    assert status.state == "FAILED"
    assert status.reason and not status.reason.endswith((";", " "))


def test_an_outcome_written_between_two_looks_is_not_overwritten(
    run: RunFolder, view: FakeView
) -> None:
    """The follower read RUNNING, then the outcome is written, then the follower sees no process."""

    class Late(FakeView):
        def update(self, status: runs.RunStatus, records: list[dict[str, object]]) -> None:
            super().update(status, records)
            ends("SUCCEEDED")(run)

    state("RUNNING")(run)
    status = follow(run, FakeLauncher(), Late())
    assert status.state == "SUCCEEDED"
    assert runs.read_status(run).state == "SUCCEEDED"


def test_a_status_that_only_looks_dead_is_followed_while_its_launcher_says_it_lives(
    run: RunFolder, view: FakeView
) -> None:
    """The process in the status is gone, but the launcher has a job that has not started yet."""
    gone = state("RUNNING", pid=2**22 + 1, pid_started=1.0)
    status = follow(run, FakeLauncher(gone, nothing, ends()), view)
    assert status.state == "SUCCEEDED"


@pytest.mark.parametrize("leaves_on_interrupt", [False, True])
def test_a_follower_is_told_who_took_the_run_over_once_its_job_has_ended(
    run: RunFolder, leaves_on_interrupt: bool
) -> None:
    def is_taken_over(run: RunFolder) -> None:
        if read_owner(run) is None:
            take(run, None, "cluster", "another-job")

    launcher = FakeLauncher(*[is_taken_over] * 3, leaves_on_interrupt=leaves_on_interrupt)
    with pytest.raises(TakenOverError, match=f"taken over by process {os.getpid()} on ") as caught:
        follow(run, launcher, FakeView())
    assert caught.value.exit_code == 5
    assert launcher.is_alive(run) == leaves_on_interrupt, "a job here is awaited"
    assert runs.read_status(run).state == "QUEUED", "its outcome is not for this job to write"


def test_a_follower_is_told_that_the_run_was_deleted(run: RunFolder) -> None:
    launcher = FakeLauncher(lambda run: run.storage.delete())
    with pytest.raises(GoneError, match="was deleted meanwhile"):
        follow(run, launcher, FakeView())
    assert not run.storage.exists()
