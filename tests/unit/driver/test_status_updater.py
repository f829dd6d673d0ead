"""The updates of a run's status while the run trains."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.driver.status_updater import StatusUpdater
from orchestrator.runs import RunStatus
from tests.unit.fakes import start_workers, wait_until
from tests.unit.folders import empty_run
from workers.errors import TakenOverError
from workers.records.owners import Fence, read_owner
from workers.records.ownership import revoke, take
from workers.records.run_folder import DRIVER, PREEMPTION, RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = empty_run(tmp_path / "r")
    runs.write_status(run, RunStatus("r", runs.PENDING, **runs.this_process()))
    return run


def update_status(run: RunFolder) -> StatusUpdater:
    owner = take(run, read_owner(run), "ray", "r")
    return StatusUpdater(run, runs.read_status(run), Fence(run, owner.term, owner.token))


def state_is(run: RunFolder, state: str) -> Callable[[], bool]:
    return lambda: runs.read_status(run).state == state


def test_a_preempted_worker_counts_as_running_until_its_node_is_taken_away(run: RunFolder) -> None:
    with update_status(run):
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


def test_workers_that_start_again_before_the_deadline_count_as_restarted(run: RunFolder) -> None:
    with update_status(run):
        start_workers(run)
        run.note_failure("the node is taken away", PREEMPTION, deadline=time.time() + 60)
        wait_until(lambda: "taken away" in runs.read_status(run).reason)
        start_workers(run)
    status = runs.read_status(run)
    assert (status.state, status.reason) == (runs.RUNNING, "restarted: the node is taken away")


def test_a_run_whose_worker_died_with_its_node_is_restarting_at_once(run: RunFolder) -> None:
    with update_status(run):
        start_workers(run)
        run.note_failure("worker 0 failed", PREEMPTION)
        wait_until(state_is(run, runs.RESTARTING))


def test_a_start_with_another_number_of_workers_and_no_failure_is_a_resize(run: RunFolder) -> None:
    with update_status(run):
        start_workers(run, workers=1)
        start_workers(run, workers=3)
    assert runs.read_status(run).reason == "resized from 1 to 3 workers"


def test_an_updater_whose_run_was_given_up_or_taken_over_writes_nothing_more(
    run: RunFolder,
) -> None:
    with update_status(run) as updater:
        start_workers(run)
        revoke(run)
        now = replace(runs.read_status(run), state=runs.STOPPED, ended_at=1.0)
        runs.write_status(run, now)
        run.note_failure("worker 1 was killed")
        time.sleep(3 * run.poll_s)
        with pytest.raises(TakenOverError):
            updater.say("waiting for 2 CPUs")
    assert runs.read_status(run) == now


def test_a_live_process_that_was_recorded_as_dead_writes_its_status_again(run: RunFolder) -> None:
    """An observer writes such a record if the dashboard no longer knows the job."""
    with update_status(run):
        start_workers(run)
        alive = runs.read_status(run)
        runs.write_status(run, replace(alive, state=runs.FAILED, ended_at=1.0, reason="no job"))
        wait_until(state_is(run, runs.RUNNING))
    assert runs.read_status(run) == alive


def test_failures_from_before_the_updater_began_do_not_count(run: RunFolder) -> None:
    run.note_failure("the driver was killed by SIGKILL", DRIVER)
    with update_status(run):
        start_workers(run)
    assert runs.read_status(run).state == runs.RUNNING


def test_a_clock_that_is_set_ahead_does_not_reach_the_time_limit(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    updater, of_before = update_status(run), time.time
    updater.limit_s = 3600.0
    with updater:
        start_workers(run)
        wait_until(state_is(run, runs.RUNNING))
        monkeypatch.setattr(time, "time", lambda: of_before() + 3 * 3600.0)
        time.sleep(5 * run.poll_s)
        assert run.stop_request() is None
        updater.limit_s = 0.1
        wait_until(lambda: run.stop_request() is not None)
