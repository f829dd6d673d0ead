"""Errors that would come again end a job; what may pass is tried again."""

import errno
import pickle
from pathlib import Path

import pytest

from orchestrator.driver.ray_train.fit import note_failure, why_not_again
from tests.unit.folders import empty_run
from workers.errors import (
    DamagedCheckpointError,
    DataError,
    GoneError,
    JobError,
    ModelFailedError,
    StorageError,
    TakenOverError,
)
from workers.records.failures import mark_step, repeating, step_of
from workers.records.run_folder import PREEMPTION, STANDSTILL, WORKER, RunFolder
from workers.storage.storage import storage_errors


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return empty_run(tmp_path / "r")


def storage_error(error: Exception) -> StorageError:
    with pytest.raises(StorageError) as caught, storage_errors("write", "s3://b/x"):
        raise error
    return caught.value


def sent(error: Exception) -> Exception:
    """Return an error as Ray's controller gets it: without what caused it."""
    received: Exception = pickle.loads(pickle.dumps(error))  # noqa: S301
    return received


def at_step(error: Exception, step: int) -> Exception:
    mark_step(error, step)
    return sent(error)


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'x'"),
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        IndexError("index out of range in self"),
        TypeError("forward() takes 1 argument"),
        DataError("shard 1 is damaged"),
        ModelFailedError("model.py:3: RuntimeError: shapes differ"),
        TakenOverError("the run was taken over"),
        GoneError("it was deleted"),
        storage_error(OSError(errno.ENOSPC, "full")),
        storage_error(OSError(errno.EROFS, "read-only")),
        storage_error(OSError("AWS Error ACCESS_DENIED during PutObject operation")),
    ],
    ids=repr,
)
def test_an_error_that_would_come_again_ends_the_job(error: Exception, run: RunFolder) -> None:
    found = repeating(error, 1)
    assert isinstance(found, JobError) and found.repeats
    assert found is error or f"worker 1 failed: {type(error).__name__}: " in found.cause
    received = {0: at_step(RuntimeError("Connection closed by peer"), 3), 1: sent(found)}
    end = why_not_again(run, received)
    assert end is not None and (end.cause, end.cure) == (found.cause, found.cure)
    assert not run.failures()


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[gloo] Connection closed by peer [127.0.0.1]:3"),
        ConnectionResetError("reset"),
        TimeoutError("timed out"),
        storage_error(OSError("HTTP status 503")),
        storage_error(OSError(errno.EIO, "I/O error")),
        DamagedCheckpointError("it was replaced"),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again(error: Exception, run: RunFolder) -> None:
    assert repeating(error, 1) is None
    assert why_not_again(run, {1: sent(error)}) is None


def test_the_same_error_at_the_same_step_twice_would_come_again(run: RunFolder) -> None:
    first = {0: at_step(RuntimeError("Connection reset"), 8), 2: at_step(MemoryError("full"), 8)}
    assert step_of(first[2]) == 8
    assert why_not_again(run, first) is None
    note_failure(run, first)
    assert run.failures()[-1]["step"] == 8
    assert why_not_again(run, {2: at_step(MemoryError("full"), 9)}) is None
    assert why_not_again(run, {2: at_step(MemoryError("other"), 8)}) is None
    end = why_not_again(run, {2: at_step(MemoryError("full"), 8)})
    assert end is not None and end.cause == "worker 2 failed: full, twice at step 8"


def test_lost_workers_and_connections_may_be_lost_at_the_same_step_again(run: RunFolder) -> None:
    lost = {0: at_step(RuntimeError("Connection reset by peer"), 8), 1: Exception("it died")}
    for _ in range(3):
        assert why_not_again(run, lost) is None
        note_failure(run, lost)
    assert [entry.get("step") for entry in run.failures()] == [None] * 3
    assert run.failures()[-1]["reason"] == "worker 1 failed: it died"


def test_of_a_lost_worker_only_what_happened_is_noted_not_what_ray_guesses(run: RunFolder) -> None:
    guesses = " Some common causes include: (1) the process was killed by the OOM killer" * 9
    note_failure(run, {1: RuntimeError("The actor is dead. End of file." + guesses)})
    assert run.failures()[-1]["reason"] == "worker 1 failed: The actor is dead. End of file."


def test_workers_that_were_ended_because_they_stood_still_failed_for_that_reason(
    run: RunFolder,
) -> None:
    run.note_failure("stood still for 5m after step 4", STANDSTILL)
    note_failure(run, {0: RuntimeError("the actor is dead")})
    assert [(f["kind"], f["reason"]) for f in run.failures()[-2:]] == [
        (STANDSTILL, "stood still for 5m after step 4"),
        (WORKER, "stood still for 5m after step 4"),
    ]


def test_a_preempted_worker_failed_for_what_its_notice_said(run: RunFolder) -> None:
    class Preempted(Exception):  # noqa: N818  # as Ray's own errors have the mark
        preempted = True

    run.note_failure("the node of worker 1 is taken away", PREEMPTION, deadline=9e9)
    note_failure(run, {0: RuntimeError("Connection reset"), 1: Preempted("actor_id: 041fc8")})
    last = run.failures()[-1]
    assert (last["kind"], last["reason"]) == (PREEMPTION, "the node of worker 1 is taken away")
