"""Before the number of workers changes, worker 0 takes a checkpoint and holds still."""

import threading
from pathlib import Path

import pytest

from tests.conftest import HANG_S, wait_for
from tests.unit.simulated import expected_of, single, tiny_job
from workers.checkpoints.checkpoint import Checkpoints
from workers.errors import GoneError
from workers.records import resize
from workers.records.resize import ResizeAnswers, ResizeRequests
from workers.records.run_folder import RunFolder, StopRequest
from workers.train import train


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder.at(str(tmp_path / "run"))


def test_a_question_is_answered_once_and_later_workers_do_not_take_it_for_theirs(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resize, "_HOLD_S", 0.0)
    asking, answering = ResizeRequests(run), ResizeAnswers(run)
    assert not answering.is_asked()
    asking.ask()
    assert not asking.is_answered()
    wait_for(answering.is_asked)
    answering.answer_and_wait()
    wait_for(asking.is_answered)
    assert not ResizeAnswers(run).is_asked()
    answering._looked_at = -1e9
    assert not answering.is_asked()


def test_nobody_is_asked_in_a_run_that_was_deleted(run: RunFolder) -> None:
    run.storage.delete()
    with pytest.raises(GoneError):
        ResizeRequests(run).ask()
    assert not run.storage.exists()


def test_worker_0_saves_and_computes_no_further_step(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = tiny_job(Path(run.storage.uri), checkpoint={"every_s": 0.0}, training={"epochs": 10_000})
    job = job.model_copy(update={"is_elastic": True})
    ends: list[object] = []
    worker = single(job)
    worker._stop_requested = run.stop_request

    thread = threading.Thread(target=lambda: ends.append(train(job, worker)))
    thread.start()
    wait_for(lambda: len(run.read_metrics()) > 3)
    asking = ResizeRequests(run)
    asking.ask()
    wait_for(asking.is_answered)
    newest = Checkpoints(run, job.checkpoint).steps()[-1]
    checkpoint = Checkpoints(run, job.checkpoint).load(newest, "a" * 64, expected_of(job))
    last = run.read_metrics()[-1]["step"]
    assert checkpoint.progress.step == newest == last, "each step so far is in the checkpoint"
    run.ask_to_stop(StopRequest("the test is over"))
    thread.join(HANG_S)
    assert not thread.is_alive() and len(ends) == 1
