"""Damage to checkpoints, tested with the code that loads them."""

from pathlib import Path

import pytest
import torch

from orchestrator.drill.checkpoint_damage import damage_newest, intact_steps, newest_intact_step
from tests.unit.folders import empty_run
from tests.unit.workers.checkpoints.expectations import expected_like
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.checkpoints.progress import Best, Progress
from workers.config import CheckpointConfig
from workers.records.run_folder import RunFolder

JOB = "a" * 64


def at_step(step: int) -> Checkpoint:
    tensors = [{"w": torch.arange(100.0) + step} for _ in range(3)]
    return Checkpoint(JOB, Progress(step=step, best=Best(1, 0.5, 0.5)), *tensors)


def save(run: RunFolder, step: int) -> None:
    Checkpoints(run, CheckpointConfig(keep_latest=3)).save(at_step(step))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = empty_run(tmp_path / "run")
    for step in (10, 20, 30):
        save(run, step)
    return run


def loaded_step(run: RunFolder) -> int:
    checkpoint = Checkpoints(run, CheckpointConfig()).latest(
        lambda _: JOB, expected_like(at_step(0))
    )
    return checkpoint.progress.step if checkpoint else 0


def test_intact_checkpoints_are_those_that_a_run_would_load(run: RunFolder) -> None:
    assert intact_steps(run) == [10, 20, 30]
    assert newest_intact_step(run) == loaded_step(run) == 30


@pytest.mark.parametrize("draw", range(25))
def test_a_run_skips_the_newest_checkpoint_after_any_damage(run: RunFolder, draw: int) -> None:
    damage = damage_newest(run, draw)
    assert damage is not None and damage.step == 30 and damage.description
    assert newest_intact_step(run) == loaded_step(run) == 20


def test_the_last_save_of_a_step_is_damaged(run: RunFolder) -> None:
    save(run, 30)
    assert intact_steps(run) == [10, 20, 30]
    damage_newest(run, 1)
    assert newest_intact_step(run) == loaded_step(run) == 20


def test_each_kind_of_damage_is_drawn(run: RunFolder) -> None:
    descriptions = []
    for draw in range(25):
        save(run, 40)
        damage = damage_newest(run, draw)
        descriptions.append(damage.description if damage else "")
    for word in ("removed", "cut", "flipped"):
        assert any(word in description for description in descriptions)


def test_without_a_checkpoint_there_is_nothing_to_damage(tmp_path: Path) -> None:
    empty = empty_run(tmp_path / "empty")
    assert damage_newest(empty, 0) is None and newest_intact_step(empty) == 0
