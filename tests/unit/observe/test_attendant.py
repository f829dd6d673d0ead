"""A job of this machine is kept going without a follower, and its end is always recorded."""

from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.observe.attendant import Attendant
from tests.unit.fakes import FakeLauncher, wait_until
from workers.records.run_folder import RunFolder, StopRequest
from workers.storage.storage import Storage

INTERRUPTED = StopRequest("interrupted by Ctrl-C", 130)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return runs.create_run(Storage(str(tmp_path / "runs")), "run-1", "name: x\n", "fake")


def nothing(run: RunFolder) -> None:
    pass


def ends(run: RunFolder) -> None:
    runs.write_status(
        run, replace(runs.read_status(run), state="SUCCEEDED", exit_code=0, ended_at=9.0)
    )


def cannot_start_again(run: RunFolder) -> None:
    raise OSError("no space left on device")


def test_an_outcome_is_kept(run: RunFolder) -> None:
    attendant = Attendant(run, FakeLauncher(nothing, ends))
    attendant.join(60)
    assert not attendant.is_at_work
    assert runs.read_status(run).state == "SUCCEEDED"


@pytest.mark.parametrize("launcher", [FakeLauncher(nothing), FakeLauncher(cannot_start_again)])
def test_a_job_that_dies_without_a_word_has_failed(run: RunFolder, launcher: FakeLauncher) -> None:
    Attendant(run, launcher).join(60)
    status = runs.read_status(run)
    assert (status.state, status.has_outcome) == ("FAILED", True)


def test_a_job_in_a_process_can_be_ended_at_once(run: RunFolder) -> None:
    launcher = FakeLauncher(*[nothing] * 1000, mode=runs.RAY)
    attendant = Attendant(run, launcher)
    attendant.end_at_once(INTERRUPTED)
    assert launcher.killed and not attendant.is_at_work
    status = runs.read_status(run)
    assert (status.state, status.exit_code) == ("STOPPED", 130)


def test_a_thread_is_left_to_stop_by_itself(run: RunFolder) -> None:
    launcher = FakeLauncher(nothing, ends, mode=runs.LOCAL)
    attendant = Attendant(run, launcher)
    attendant.end_at_once(INTERRUPTED)
    assert not launcher.killed
    wait_until(lambda: not attendant.is_at_work)
    assert runs.read_status(run).state == "SUCCEEDED"


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_nothing_is_recorded_of_a_run_that_was_deleted(run: RunFolder) -> None:
    attendant = Attendant(run, FakeLauncher(lambda run: run.storage.delete()))
    attendant.join(60)
    assert not attendant.is_at_work and not run.storage.exists()
