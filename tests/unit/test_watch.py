"""What keeps a run's status true beside its training."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.watch import Watch
from tests.unit.fakes import start_workers, wait_until
from workers.run_folder import DRIVER, PREEMPTION, RunFolder
from workers.storage import Storage


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(Storage(str(tmp_path / "r")))
    runs.write_status(run, RunStatus("r", runs.PENDING, **runs.this_process()))
    return run


def watch(run: RunFolder, leave: Callable[[], None] | None = None) -> Watch:
    def stay() -> None:
        raise AssertionError("told to leave")

    return Watch(run, runs.read_status(run), leave or stay)


def state_is(run: RunFolder, state: str) -> Callable[[], bool]:
    return lambda: runs.read_status(run).state == state


def test_a_preempted_worker_runs_on_until_its_node_goes(run: RunFolder) -> None:
    with watch(run):
        start_workers(run)
        deadline = time.time() + 1.5
        run.note_failure("the node of worker 1 is taken away", PREEMPTION, deadline=deadline)
        wait_until(lambda: "taken away" in runs.read_status(run).reason)
        assert runs.read_status(run).state == runs.RUNNING or time.time() > deadline
        wait_until(state_is(run, runs.RESTARTING))
        assert time.time() >= deadline
        start_workers(run)
    status = runs.read_status(run)
    assert (status.state, status.attempt) == (runs.RUNNING, 2)
    assert status.reason == "restarted: the node of worker 1 is taken away"


def test_workers_that_come_back_before_the_deadline_are_restarted_too(run: RunFolder) -> None:
    with watch(run):
        start_workers(run)
        run.note_failure("the node is taken away", PREEMPTION, deadline=time.time() + 60)
        wait_until(lambda: "taken away" in runs.read_status(run).reason)
        start_workers(run)
    status = runs.read_status(run)
    assert (status.state, status.reason) == (runs.RUNNING, "restarted: the node is taken away")


def test_a_worker_that_died_with_its_node_is_restarting_at_once(run: RunFolder) -> None:
    with watch(run):
        start_workers(run)
        run.note_failure("worker 0 failed", PREEMPTION)
        wait_until(state_is(run, runs.RESTARTING))


def test_another_number_of_workers_without_a_failure_is_a_resize(run: RunFolder) -> None:
    with watch(run):
        start_workers(run, workers=1)
        start_workers(run, workers=3)
    assert runs.read_status(run).reason == "resized from 1 to 3 workers"


def test_who_was_given_up_or_replaced_leaves_and_writes_nothing_more(run: RunFolder) -> None:
    for change in (
        {"state": runs.STOPPED, "ended_at": 1.0, "reason": "given up"},
        {"state": runs.PENDING, "host": "elsewhere", "pid": 1},
        {"state": runs.QUEUED, "job_id": "r.1"},
    ):
        runs.write_status(run, RunStatus("r", runs.PENDING, **runs.this_process()))
        left: list[bool] = []
        with watch(run, lambda left=left: left.append(True)):  # type: ignore[misc]
            now = replace(runs.read_status(run), **change)  # type: ignore[arg-type]
            runs.write_status(run, now)
            wait_until(lambda left=left: bool(left))  # type: ignore[misc]
        assert runs.read_status(run) == now


def test_one_that_was_taken_for_dead_says_that_it_lives(run: RunFolder) -> None:
    """By somebody whose dashboard did not know the job any more."""
    with watch(run):
        start_workers(run)
        alive = runs.read_status(run)
        runs.write_status(run, replace(alive, state=runs.FAILED, ended_at=1.0, reason="no job"))
        wait_until(state_is(run, runs.RUNNING))
    assert runs.read_status(run) == alive


def test_only_what_came_since_it_began_is_a_failure(run: RunFolder) -> None:
    run.note_failure("the driver was killed by SIGKILL", DRIVER)
    with watch(run):
        start_workers(run)
    assert runs.read_status(run).state == runs.RUNNING
