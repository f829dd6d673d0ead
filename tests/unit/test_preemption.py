"""A machine is about to be taken away: what is saved, noted and counted."""

import time
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.torch_trainer import note_failure
from tests.unit.simulated import RankWorker, on_workers, tiny_job
from workers.checkpoint import Checkpoints
from workers.config import CheckpointConfig, TrainJob
from workers.run_folder import RunFolder
from workers.storage import Storage
from workers.train import TrainResult, train
from workers.worker import Notice

KEEP_ALL: dict[str, Any] = {"keep_latest": 100, "every_s": 0}


class NoticedWorker:
    """A worker that is told, whenever it looks, that rank 1 will be taken away."""

    def __init__(self, worker: RankWorker, deadline: float) -> None:
        self._worker, self._deadline = worker, deadline

    def __getattr__(self, name: str) -> Any:
        return getattr(self._worker, name)

    def notice_due(self) -> bool:
        assert self._worker.rank == 0, "only worker 0 is asked"
        return True

    def notice(self) -> Notice | None:
        self._worker.gather(torch.ones(len(self.shards), 1))  # hangs unless all call it
        return Notice([1], self._deadline)


def trained(job: TrainJob, deadline: float) -> list[TrainResult]:
    return on_workers(job, 2, lambda worker: train(job, NoticedWorker(worker, deadline)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("in_s", "saved"), [(600.0, [1, 3, 6]), (1.0, [1, 2, 3, 6])])
def test_a_notice_is_saved_at_once_and_again_just_before(
    tmp_path: Path, in_s: float, saved: list[int]
) -> None:
    job = tiny_job(tmp_path / "run", checkpoint=KEEP_ALL)
    deadline = time.time() + in_s
    trained(job, deadline)
    run = RunFolder.at(job.run_uri)
    # Told at step 1; an epoch ends at 3 and at 6.
    assert Checkpoints(run, CheckpointConfig(**KEEP_ALL)).steps() == saved
    (entry,) = run.failures()
    assert (entry["kind"], entry["deadline"]) == ("preemption", deadline)
    assert entry["reason"] == "the node of worker 1 is taken away"
    assert run.num_failures() == 0, "no failure of the job"


def test_a_notice_changes_no_bit(tmp_path: Path) -> None:
    undisturbed = tiny_job(tmp_path / "a")
    (alone, _) = on_workers(undisturbed, 2, lambda worker: train(undisturbed, worker))
    told = trained(tiny_job(tmp_path / "b"), time.time() + 60)
    assert {result.weights_sha256 for result in told} == {alone.weights_sha256}


class LostError(Exception):
    """As Ray tells of an actor that died, perhaps with its node."""

    def __init__(self, preempted: bool) -> None:
        super().__init__("first line\nthe actor died")
        self.preempted = preempted


class UnhealthyError(Exception):
    """As Ray Train wraps it."""

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
def test_a_worker_that_was_preempted_is_no_failure(
    tmp_path: Path, errors: dict[int, Exception], kind: str, reason: str, counted: int
) -> None:
    run = RunFolder(Storage(str(tmp_path)))
    note_failure(run, errors)
    (entry,) = run.failures()
    assert (entry["kind"], entry["reason"]) == (kind, reason)
    assert run.num_failures() == counted
