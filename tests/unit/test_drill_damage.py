"""Damage to checkpoints, held against the code that loads them."""

from pathlib import Path

import pytest
import torch

from orchestrator.drill.damage import damage_newest, newest_whole, whole_checkpoints
from workers.checkpoint import Checkpoint, Checkpoints, Progress
from workers.config import CheckpointConfig
from workers.run_folder import RunFolder

JOB = "a" * 64


def save(run: RunFolder, step: int) -> None:
    tensors = [{"w": torch.arange(100.0) + step} for _ in range(3)]
    checkpoint = Checkpoint(JOB, Progress(step=step), *tensors)
    Checkpoints(run, CheckpointConfig(keep_latest=3)).save(checkpoint)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder.at(str(tmp_path / "run"))
    for step in (10, 20, 30):
        save(run, step)
    return run


def loaded(run: RunFolder) -> int:
    found = Checkpoints(run, CheckpointConfig()).latest(lambda _: JOB)
    return found.progress.step if found else 0


def test_whole_checkpoints_are_those_that_a_run_would_load(run: RunFolder) -> None:
    assert whole_checkpoints(run) == [10, 20, 30]
    assert newest_whole(run) == loaded(run) == 30


@pytest.mark.parametrize("draw", range(25))
def test_whatever_is_done_to_the_newest_it_is_passed_over(run: RunFolder, draw: int) -> None:
    damage = damage_newest(run, draw)
    assert damage is not None and damage.step == 30 and damage.what
    assert newest_whole(run) == loaded(run) == 20


def test_a_step_that_was_saved_again_is_damaged_where_it_counts(run: RunFolder) -> None:
    save(run, 30)
    assert whole_checkpoints(run) == [10, 20, 30]
    damage_newest(run, 1)
    assert newest_whole(run) == loaded(run) == 20


def test_each_kind_of_damage_is_drawn(run: RunFolder) -> None:
    done = []
    for draw in range(25):
        save(run, 40)
        damage = damage_newest(run, draw)
        done.append(damage.what if damage else "")
    for word in ("removed", "cut", "flipped"):
        assert any(word in what for what in done)


def test_without_a_checkpoint_there_is_nothing_to_damage(tmp_path: Path) -> None:
    empty = RunFolder.at(str(tmp_path / "empty"))
    assert damage_newest(empty, 0) is None and newest_whole(empty) == 0
