"""What is saved, recorded and counted when a machine is about to be taken away."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.driver.ray_train.fit import note_failure
from tests.unit.folders import empty_run
from tests.unit.simulated import RankWorker, on_workers, tiny_job
from workers.checkpoints.checkpoint import Checkpoints
from workers.config import CheckpointConfig, TrainJob
from workers.records.run_folder import RunFolder
from workers.records.train_result import TrainResult
from workers.train import train
from workers.worker import Notice

KEEP_ALL: dict[str, Any] = {"keep_latest": 100, "every_s": 0}


class NoticedWorker:
    """A worker that always receives the notice that the machine of rank 1 will be taken away."""

    def __init__(self, worker: RankWorker, deadline: float) -> None:
        self._worker, self._deadline = worker, deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def notice_due(self) -> bool:
        assert self._worker.rank == 0, "only worker 0 is asked"
        return True

    def notice(self) -> Notice | None:
        self._worker.gather(torch.ones(len(self.shards), 1))  # hangs unless all workers call it
        return Notice([1], self._deadline)


def trained(job: TrainJob, deadline: float) -> list[TrainResult]:
    return on_workers(job, 2, lambda worker: train(job, NoticedWorker(worker, deadline)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("seconds_left", "saved"), [(600.0, [1, 3, 6]), (1.0, [1, 2, 3, 6])])
def test_a_notice_leads_to_a_checkpoint_at_once_and_another_just_before_the_deadline(
    tmp_path: Path, seconds_left: float, saved: list[int]
) -> None:
    job = tiny_job(tmp_path / "run", checkpoint=KEEP_ALL)
    deadline = time.time() + seconds_left
    trained(job, deadline)
    run = RunFolder.at(job.run_uri)
    # The notice comes at step 1. Epochs end at steps 3 and 6.
    assert Checkpoints(run, CheckpointConfig(**KEEP_ALL)).steps() == saved
    (entry,) = run.failures()
    assert (entry["kind"], entry["deadline"]) == ("preemption", deadline)
    assert entry["reason"] == "the node of worker 1 is taken away"
    assert run.num_failures() == 0, "no failure of the job"


def test_a_notice_does_not_change_the_weights(tmp_path: Path) -> None:
    undisturbed = tiny_job(tmp_path / "a")
    (alone, _) = on_workers(undisturbed, 2, lambda worker: train(undisturbed, worker))
    noticed = trained(tiny_job(tmp_path / "b"), time.time() + 60)
    assert {result.weights_sha256 for result in noticed} == {alone.weights_sha256}


class LostError(Exception):
    """Like the error that Ray raises for an actor that died, perhaps with its node."""

    def __init__(self, preempted: bool) -> None:
        super().__init__("first line\nthe actor died")
        self.preempted = preempted


class UnhealthyError(Exception):
    """Like the error in which Ray Train wraps the one above."""

    def __init__(self, cause: Exception) -> None:
        super().__init__("health check failed")
        self.health_check_failure = cause


@pytest.mark.parametrize(
    ("errors", "kind", "reason", "counted"),
    [
        ({1: LostError(False)}, "worker", "worker 1 failed: the actor died", 1),
        (
            {0: ValueError("x"), 1: LostError(True)},
            "preemption",
            "worker 1 failed: the actor died",
            0,
        ),
        (
            {2: UnhealthyError(LostError(True))},
            "preemption",
            "worker 2 failed: health check failed",
            0,
        ),
        ({0: ValueError("")}, "worker", "worker 0 failed: ValueError('')", 1),
    ],
)
def test_a_preempted_worker_does_not_count_as_a_failure(
    tmp_path: Path, errors: dict[int, Exception], kind: str, reason: str, counted: int
) -> None:
    run = empty_run(tmp_path)
    note_failure(run, errors)
    (entry,) = run.failures()
    assert (entry["kind"], entry["reason"]) == (kind, reason)
    assert run.num_failures() == counted
