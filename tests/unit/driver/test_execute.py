"""The execution of a run from its folder to its outcome, with a fake trainer."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from orchestrator import runs
from orchestrator.driver.execute import Start, execute
from orchestrator.driver.standstill import Standstill, StandstillWatch
from orchestrator.runs import RunStatus
from orchestrator.spec.plan import Plan
from tests.unit.fakes import WEIGHTS, FakeTrainer, finished, start_workers, tiny_spec, wait_until
from tests.unit.runs import whole_records
from workers.errors import (
    DivergedError,
    JobError,
    JobStoppedError,
    ResourcesError,
    StorageError,
    TakenOverError,
)
from workers.records.owners import Fence, read_owner
from workers.records.ownership import revoke, take
from workers.records.run_folder import RunFolder, StopRequest
from workers.records.train_result import TrainResult
from workers.storage.storage import Storage
from workers.storage.typed_json import Json


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return create_run(tmp_path)


def create_run(folder: Path, mode: str = "local", **values: object) -> RunFolder:
    spec = tiny_spec(folder, **values)
    return runs.create_run(Storage(spec.storage), "run-1", spec.to_yaml(), mode)


def read_result(run: RunFolder) -> Json:
    return run.read_json(run.RESULT) or {}


def test_a_run_goes_through_its_states_and_ends_with_its_result(run: RunFolder) -> None:
    states: list[tuple[str, str]] = []

    def record_state() -> None:
        status = runs.read_status(run)
        states.append((status.state, status.reason))

    def wait(say: Callable[[str], None]) -> None:
        record_state()
        say("waiting for 2 CPUs")
        record_state()

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start_workers(run, workers=2)
        record_state()
        assert not run.storage.exists(run.RESULT)
        return finished()

    trainer = FakeTrainer(act, wait)
    status = execute(run, trainer)
    assert states == [("PENDING", ""), ("PENDING", "waiting for 2 CPUs"), ("RUNNING", "")]
    assert trainer.seen == ["enter", "wait", "train", "exit"]
    assert runs.read_status(run) == status
    assert (status.state, status.exit_code, status.reason) == ("SUCCEEDED", 0, "")
    assert (status.workers, status.attempt, status.pid) == (2, 1, os.getpid())
    assert status.started_at and status.ended_at and status.ended_at >= status.started_at
    assert read_result(run)["state"] == "SUCCEEDED"
    assert read_result(run)["weights_sha256"] == WEIGHTS
    assert run.storage.exists(run.REPORT) and run.storage.exists(run.PROVENANCE)


def test_each_epoch_state_and_the_end_are_told_once(run: RunFolder) -> None:
    told: list[str] = []

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start_workers(run, workers=2)
        log = run.storage.read(run.METRICS)
        for number in (1, 2):
            log += json.dumps(whole_records.epoch(number, number)).encode() + b"\n"
            run.storage.write(run.METRICS, log)
            wait_until(lambda: told[-1].startswith(f"epoch   {number}  loss "))  # noqa: B023
        return finished()

    execute(run, FakeTrainer(act, lambda say: say("no room")), Start(tell=told.append))
    assert told[:2] == ["PENDING: no room", "RUNNING"]
    assert told[-1].startswith("SUCCEEDED") and len(told) == 5


def test_a_second_start_of_the_workers_is_another_attempt(run: RunFolder) -> None:
    first: list[RunStatus] = []

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start_workers(run, workers=2)
        first.append(runs.read_status(run))
        start_workers(run, workers=1)
        return finished()

    status = execute(run, FakeTrainer(act))
    assert (status.attempt, status.workers) == (2, 1)
    assert status.started_at == first[0].started_at


def test_a_start_just_before_the_end_is_not_missed(run: RunFolder) -> None:
    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start = {"kind": "start", "step": 0, "attempt": 1, "workers": 3, "time": 5.0}
        run.storage.write(run.METRICS, (json.dumps(start) + "\n").encode())
        return finished()

    status = execute(run, FakeTrainer(act))
    assert (status.state, status.attempt, status.workers) == ("SUCCEEDED", 1, 3)


def test_a_run_is_restarting_from_a_failure_of_its_workers_until_they_start_again(
    run: RunFolder,
) -> None:
    seen: list[RunStatus] = []

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start_workers(run)
        run.note_failure("worker 1 was killed")
        wait_until(lambda: runs.read_status(run).state == "RESTARTING")
        seen.append(runs.read_status(run))
        start_workers(run)
        seen.append(runs.read_status(run))
        return finished()

    status = execute(run, FakeTrainer(act))
    assert [s.state for s in seen] == ["RESTARTING", "RUNNING"]
    assert seen[0].reason == "worker 1 was killed"
    assert (status.state, status.attempt) == ("SUCCEEDED", 2)


@pytest.mark.parametrize(("mode", "ended"), [("local", 0), ("ray", 1)])
def test_workers_that_stand_still_for_too_long_are_ended_but_not_the_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, ended: int
) -> None:
    still = Standstill(1.0, 300.0, 7, (), are_silent=False)
    monkeypatch.setattr(StandstillWatch, "look", lambda *_: still)
    run = create_run(tmp_path, mode, **{"limits.stall_timeout": "1m"})

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start_workers(run)
        wait_until(lambda: runs.read_status(run).stalled_since == 1.0)
        if ended:
            wait_until(lambda: trainer.seen[-1] == "end workers")
        return finished()

    trainer = FakeTrainer(act)
    execute(run, trainer)
    assert trainer.seen.count("end workers") == len(run.failures()) == ended


def test_the_time_limit_asks_for_a_stop_that_ends_with_124(tmp_path: Path) -> None:
    run = create_run(tmp_path, **{"limits.time": "0.1s"})

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        start_workers(run)
        wait_until(lambda: run.stop_request() is not None)
        return finished(stopped=run.stop_request())

    status = execute(run, FakeTrainer(act))
    assert (status.state, status.exit_code) == ("STOPPED", 124)
    assert status.reason.startswith("time limit of ") and status.reason.endswith(" reached")
    assert status.cure.startswith("go on from step 3: rnnjob resume run-1 --storage ")
    assert read_result(run)["state"] == "STOPPED"


def test_the_time_limit_does_not_run_while_the_job_is_pending(tmp_path: Path) -> None:
    run = create_run(tmp_path, **{"limits.time": "0.05s"})

    def wait(say: Callable[[str], None]) -> None:
        with pytest.raises(AssertionError, match="in vain"):
            wait_until(lambda: run.stop_request() is not None, timeout_s=0.5)

    status = execute(run, FakeTrainer(wait=wait))
    assert status.state == "SUCCEEDED"
    assert run.stop_request() is None


@pytest.mark.parametrize(
    ("error", "state", "exit_code"),
    [
        (DivergedError("training diverged at step 3", "lower --lr"), "FAILED", 1),
        (StorageError("cannot write x: No space left on device", "make room"), "FAILED", 1),
        (ResourcesError("2 GPUs wanted, there are 0", "ask for fewer"), "FAILED", 6),
        (JobStoppedError("stopped by rnnjob stop", "resume it"), "STOPPED", 5),
        (JobStoppedError("its supervisor was killed", "resume it", 1), "FAILED", 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, JobError) else "",
)
@pytest.mark.parametrize("when", ["waiting", "training"])
def test_an_error_of_the_job_becomes_its_outcome(
    run: RunFolder, error: JobError, state: str, exit_code: int, when: str
) -> None:
    def fail(*_: object) -> Any:
        raise error

    trainer = FakeTrainer(wait=fail) if when == "waiting" else FakeTrainer(fail)
    status = execute(run, trainer)
    assert runs.read_status(run) == status
    assert (status.state, status.exit_code) == (state, exit_code)
    assert (status.reason, status.cure) == (error.cause, error.cure)
    assert status.has_outcome
    assert trainer.seen[-1] == "exit", "the trainer must have released its resources"
    assert read_result(run)["state"] == state
    assert read_result(run)["weights_sha256"] is None


def test_any_other_exception_fails_the_run_with_its_name_in_one_line(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(run: RunFolder, plan: Plan) -> TrainResult:
        raise RuntimeError("something\n  unforeseen" + "!" * 1000)

    status = execute(run, FakeTrainer(fail))
    assert (status.state, status.exit_code) == ("FAILED", 1)
    assert status.reason.startswith("RuntimeError: something unforeseen!!!")
    assert len(status.reason) < 600
    assert "Traceback" in caplog.text
    assert runs.read_status(run) == status


def test_a_stopped_training_is_a_stopped_run_with_the_exit_code_of_the_request(
    run: RunFolder,
) -> None:
    trainer = FakeTrainer(lambda run, plan: finished(StopRequest("interrupted by Ctrl-C", 130)))
    status = execute(run, trainer)
    assert (status.state, status.exit_code) == ("STOPPED", 130)
    assert status.reason == "interrupted by Ctrl-C"
    assert "rnnjob resume run-1" in status.cure


def test_a_spec_that_cannot_be_read_fails_the_run_before_the_trainer_is_entered(
    run: RunFolder,
) -> None:
    run.storage.write(run.JOB, b"training: {epohcs: 3}\n")
    trainer = FakeTrainer()
    status = execute(run, trainer)
    assert (status.state, status.exit_code) == ("FAILED", 2)
    assert "training.epohcs" in status.reason
    assert trainer.seen == []


def test_the_status_of_an_earlier_execution_is_reset(run: RunFolder) -> None:
    earlier = replace(
        runs.read_status(run), state="QUEUED", reason="old", cure="old", exit_code=1, ended_at=1.0
    )
    runs.write_status(run, earlier)
    seen: list[RunStatus] = []
    execute(run, FakeTrainer(wait=lambda say: seen.append(runs.read_status(run))))
    pending = seen[0]
    assert (pending.state, pending.reason, pending.cure) == ("PENDING", "", "")
    assert (pending.exit_code, pending.ended_at) == (None, None)
    assert pending.submitted_at == earlier.submitted_at
    assert runs.read_status(run).cure == ""


def test_a_run_whose_result_cannot_be_written_has_not_succeeded(run: RunFolder) -> None:
    def act(run: RunFolder, plan: Plan) -> TrainResult:
        assert run.storage.local_path
        (
            run.storage.local_path / run.RESULT
        ).mkdir()  # the file cannot be written, as on a full disk
        return finished()

    status = execute(run, FakeTrainer(act))
    assert (status.state, status.exit_code) == ("FAILED", 1)
    assert "result.json" in status.reason
    assert runs.read_status(run) == status


@pytest.mark.parametrize("when", ["waiting", "training"])
def test_nothing_comes_back_of_a_run_folder_that_was_deleted(
    run: RunFolder, caplog: pytest.LogCaptureFixture, when: str
) -> None:
    def wait(say: Callable[[str], None]) -> None:
        if when == "waiting":
            run.storage.delete()
            say("waiting for 2 CPUs")

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        run.storage.delete()
        return finished()

    status = execute(run, FakeTrainer(act, wait))
    assert (status.state, status.exit_code) == ("FAILED", 4)
    assert status.reason.endswith("/run-1 was deleted meanwhile")
    assert caplog.messages[-1] == status.reason
    assert not run.storage.exists()


@pytest.mark.parametrize(
    ("last_owner", "start", "owns"),
    [
        (None, Start(), True),
        ({"job_id": "run-1.1", "is_claim": True}, Start("run-1.1"), True),
        ({"job_id": "run-1.1", "is_claim": True}, Start(), False),  # resumed before it began
        ({"job_id": "run-1.1"}, Start("run-1.1"), False),  # this process lives, and has the run
        ({"job_id": "run-1", "pid": 0}, Start(previous_death="killed"), True),
        ({"job_id": "", "pid": 0}, Start(previous_death="killed"), False),  # given up meanwhile
    ],
)
def test_a_run_that_belongs_to_another_process_is_left_as_it_is(
    run: RunFolder, last_owner: dict[str, Any] | None, start: Start, owns: bool
) -> None:
    if last_owner is not None:
        owner = replace(take(run, None, "local", ""), **last_owner)
        run.write_json("owners/1.json", owner.to_json())
    before = runs.read_status(run)
    trainer = FakeTrainer()
    status = execute(run, trainer, start)
    assert bool(trainer.seen) == owns
    assert (status.state == runs.SUCCEEDED) == owns
    if not owns:
        assert runs.read_status(run) == before
        assert status.exit_code in (2, 5)
        assert "held by process" in status.reason or "taken over by process" in status.reason


def test_a_run_that_has_ended_is_left_as_it_is(run: RunFolder) -> None:
    ended = replace(runs.read_status(run), state=runs.STOPPED, ended_at=1.0)
    before = runs.write_status(run, ended)
    trainer = FakeTrainer()
    assert execute(run, trainer) == before == runs.read_status(run)
    assert not trainer.seen and not run.storage.exists("owners")


def test_a_run_is_released_at_its_end(run: RunFolder) -> None:
    execute(run, FakeTrainer())
    owner = read_owner(run)
    assert owner is not None and (owner.term, owner.is_released, owner.job_id) == (1, True, "run-1")


def test_the_workers_are_told_for_which_owner_they_write(run: RunFolder) -> None:
    def act(run: RunFolder, plan: Plan) -> TrainResult:
        owner = read_owner(run)
        assert owner and (plan.job.owner_term, plan.job.owner_token) == (1, owner.token)
        Fence.of(plan.job).check()
        revoke(run)
        with pytest.raises(TakenOverError):
            Fence.of(plan.job).check()
        return finished()

    execute(run, FakeTrainer(act))


def test_a_process_that_lost_its_run_writes_no_outcome(run: RunFolder) -> None:
    lost: list[JobError] = []

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        take(run, read_owner(run), "ray", "run-1.1", is_claim=True)
        runs.write_status(run, replace(runs.read_status(run), state=runs.QUEUED, host="other"))
        wait_until(lambda: bool(lost))
        return finished()

    status = execute(run, FakeTrainer(act), Start(when_lost=lost.append))
    assert (status.state, status.exit_code) == (runs.FAILED, 5)
    assert status.reason.startswith(f"the run was taken over by process {os.getpid()} on ")
    left = runs.read_status(run)
    assert (left.state, left.host) == (runs.QUEUED, "other")
    assert not run.storage.exists(run.RESULT)
    owner = read_owner(run)
    assert owner and (owner.term, owner.is_released) == (2, False)


def test_an_earlier_result_is_removed_when_a_run_begins(run: RunFolder) -> None:
    run.write_json(run.RESULT, {"state": "FAILED"})

    def act(run: RunFolder, plan: Plan) -> TrainResult:
        assert not run.storage.exists(run.RESULT)
        return finished()

    assert execute(run, FakeTrainer(act)).state == runs.SUCCEEDED


def test_a_run_fails_when_its_driver_died_too_often(tmp_path: Path) -> None:
    run = create_run(tmp_path, **{"limits.max_failures": 1})
    parent = runs.parent_process(os.getppid())
    runs.write_status(run, replace(runs.read_status(run), **parent))
    run.note_failure("worker 1 failed")
    start = Start(parent=parent, previous_death="the driver was killed by SIGKILL")
    status = execute(run, FakeTrainer(), start)
    assert (status.state, status.exit_code) == (runs.FAILED, 1)
    assert status.reason == "the driver was killed by SIGKILL: failure 2, and 1 are allowed"
