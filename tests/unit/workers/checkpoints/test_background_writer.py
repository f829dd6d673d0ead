"""CheckpointWriter: checkpoints are written in order while training goes on; errors are raised."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ENOUGH_S
from tests.unit.simulated import single, tiny_job
from workers.checkpoints.background_writer import CheckpointWriter
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.errors import StorageError
from workers.storage.typed_json import Json
from workers.train import train

FULL = StorageError("cannot write x: No space left on device", "make room")


class Gate:
    """A write that does not end before `open` is called."""

    def __init__(self) -> None:
        self.begun, self._open = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self._open.wait(ENOUGH_S)

    def open(self) -> None:
        self._open.set()


def fail() -> None:
    raise FULL


@pytest.fixture
def writer() -> Iterator[CheckpointWriter]:
    with CheckpointWriter() as writer:
        yield writer


def test_all_writes_are_done_in_order_before_the_block_ends() -> None:
    done: list[int] = []

    def write(number: int) -> None:
        time.sleep(0.005)
        done.append(number)

    with CheckpointWriter() as writer:
        for number in range(10):
            writer.put(lambda number=number: write(number))  # type: ignore[misc]
    assert done == list(range(10))


def test_training_goes_on_while_something_is_written(writer: CheckpointWriter) -> None:
    gate = Gate()
    writer.put(gate)
    assert gate.begun.wait(ENOUGH_S)
    assert writer.is_busy
    gate.open()
    writer.drain()
    assert not writer.is_busy


def test_one_write_waits_its_turn_and_the_next_makes_training_wait(
    writer: CheckpointWriter,
) -> None:
    gate, done = Gate(), threading.Event()
    writer.put(gate)
    assert gate.begun.wait(ENOUGH_S)
    writer.put(lambda: None)
    third = threading.Thread(target=lambda: writer.put(done.set))
    third.start()
    third.join(0.1)
    assert third.is_alive(), "more than one waited in memory"
    gate.open()
    third.join(ENOUGH_S)
    writer.drain()
    assert done.is_set()


def test_an_optional_write_is_skipped_while_another_is_done(writer: CheckpointWriter) -> None:
    gate, late = Gate(), threading.Event()
    writer.put(gate)
    writer.put_if_idle(late.set)
    gate.open()
    writer.drain()
    assert not late.is_set()
    writer.put_if_idle(late.set)
    writer.drain()
    assert late.is_set()


def test_after_a_failed_write_every_call_raises_its_error_and_nothing_is_written() -> None:
    done = threading.Event()
    with pytest.raises(StorageError), CheckpointWriter() as writer:
        gate = Gate()
        writer.put(gate)
        writer.put(fail)
        gate.open()
        for call in (writer.drain, writer.check, lambda: writer.put(done.set)):
            with pytest.raises(StorageError, match="No space left"):
                call()
    assert not done.is_set()


def test_an_error_that_no_call_raised_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(StorageError), CheckpointWriter() as writer:
        writer.put(fail)


def test_the_error_of_the_training_is_not_hidden_by_one_of_the_writer(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ZeroDivisionError), CheckpointWriter() as writer:
        writer.put(fail)
        raise ZeroDivisionError
    assert "could not be written" in caplog.text


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name[5:]) for path in (folder / "checkpoints").iterdir())


def test_a_checkpoint_that_is_due_is_postponed_while_one_is_written_but_not_at_an_epochs_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = train(job := tiny_job(tmp_path / "whole"), single(job))
    gate, save = Gate(), Checkpoints.save
    metrics = tmp_path / "slow" / "metrics.jsonl"
    recorded: dict[int, str] = {}

    def slow(checkpoints: Checkpoints, checkpoint: Checkpoint) -> None:
        recorded[checkpoint.progress.step] = metrics.read_text()
        gate()
        save(checkpoints, checkpoint)

    def sink(record: Json) -> None:
        if record["kind"] == "step" and record["step"] == 3:
            gate.open()

    monkeypatch.setattr(Checkpoints, "save", slow)
    job = tiny_job(tmp_path / "slow", checkpoint={"every_steps": 1, "keep_latest": 9})
    result = train(job, single(job), sink)
    steps = steps_in(tmp_path / "slow")
    assert 2 not in steps, "training waited for the checkpoint of step 1"
    assert {1, 3, 6} <= set(steps)
    assert result.weights_sha256 == undisturbed.weights_sha256
    for step, text in recorded.items():
        assert f'"step": {step},' in text, "a checkpoint was begun before its steps were recorded"


def test_a_checkpoint_at_a_stop_is_on_storage_when_training_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Checkpoints.save

    def slow(checkpoints: Checkpoints, checkpoint: Checkpoint) -> None:
        time.sleep(0.1)
        save(checkpoints, checkpoint)

    monkeypatch.setattr(Checkpoints, "save", slow)
    job = tiny_job(tmp_path, checkpoint={"every_steps": 1, "keep_latest": 9})
    assert train(job, single(job, stop_after=5)).steps == 5
    assert steps_in(tmp_path)[-1] == 5


def test_a_checkpoint_that_cannot_be_written_ends_the_training_with_its_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Checkpoints, "save", lambda checkpoints, checkpoint: fail())
    job = tiny_job(tmp_path)
    with pytest.raises(StorageError, match="No space left"):
        train(job, single(job))
