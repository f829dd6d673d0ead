"""Damaged checkpoints are loaded as they were saved, skipped for the one before, or refused."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.folders import empty_run
from tests.unit.hostile import NO_OBJECTS, ODD, damaged, files_in
from tests.unit.runs.whole_records import epoch
from tests.unit.workers.checkpoints.expectations import expected_like
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.checkpoints.progress import Best, EpochSums, Progress
from workers.config import CheckpointConfig
from workers.errors import CheckpointError, DamagedCheckpointError

JOB = "a" * 64
FILES = ("model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json")


def at_step(step: int) -> Checkpoint:
    progress = Progress(
        epoch=1,
        step=step,
        step_in_epoch=1,
        sums=EpochSums(loss_sum=1.5, score_sum=3, num_rows=4, wall_s=0.25),
        best=Best(1, 0.5, 0.75),
        epochs=[epoch(1, 1)],
    )
    tensors = {"w": torch.full((2, 3), float(step))}
    return Checkpoint(JOB, progress, tensors, {"w/exp_avg": tensors["w"] * 2}, tensors)


EXPECTED = expected_like(at_step(0))


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    """Checkpoints of the steps 1 and 2. The tests damage the second."""
    checkpoints = Checkpoints(empty_run(tmp_path / "run"), CheckpointConfig(keep_latest=5))
    for step in (1, 2):
        checkpoints.save(at_step(step))
    return checkpoints


def folder_of(tmp_path: Path, step: int = 2) -> Path:
    return tmp_path / "run" / "checkpoints" / f"step-{step:08d}"


def restore(tmp_path: Path, kept: Checkpoints) -> Path:
    """Restore the second checkpoint and return its folder."""
    shutil.rmtree(folder_of(tmp_path), ignore_errors=True)
    kept.save(at_step(2))
    return folder_of(tmp_path)


def latest_step(tmp_path: Path, kept: Checkpoints) -> int:
    """Return the step from which a job would go on. Raises CheckpointError if it would not."""
    before = files_in(tmp_path)
    found = kept.latest(lambda step: JOB, EXPECTED)
    assert files_in(tmp_path) == before, "reading changed something"
    assert found is not None, "the undamaged checkpoint was skipped, too"
    step = found.progress.step
    assert found.progress == at_step(step).progress
    assert torch.equal(found.model["w"], at_step(step).model["w"])
    return step


@given(st.sampled_from((*FILES, "manifest.json")), st.data())
@settings(max_examples=150)
def test_a_damaged_file_costs_only_that_checkpoint(
    tmp_path: Path, kept: Checkpoints, name: str, data: st.DataObject
) -> None:
    path = restore(tmp_path, kept) / name
    original = path.read_bytes()
    content = data.draw(damaged(original) | NO_OBJECTS)
    path.write_bytes(content)
    step = latest_step(tmp_path, kept)
    assert step == 1 or content == original or name == "manifest.json"


def update_hashes(folder: Path) -> None:
    """Write the hashes of the present files into the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["sha256"] = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@given(st.sampled_from(FILES[:3]), st.data())
@settings(max_examples=150)
def test_damaged_tensors_whose_hash_fits_are_loaded_or_skipped(
    tmp_path: Path, kept: Checkpoints, name: str, data: st.DataObject
) -> None:
    folder = restore(tmp_path, kept)
    path = folder / name
    path.write_bytes(data.draw(damaged(path.read_bytes()) | NO_OBJECTS))
    update_hashes(folder)
    before = files_in(tmp_path)
    found = kept.latest(lambda step: JOB, EXPECTED)
    assert found is not None
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("length", [2**63, 2**40, 100_000_001, 1, 0])
def test_a_header_that_promises_too_much_is_skipped(
    tmp_path: Path, kept: Checkpoints, length: int
) -> None:
    path = folder_of(tmp_path) / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])
    update_hashes(path.parent)
    assert latest_step(tmp_path, kept) == 1


TENSORS = {
    "huge": {"w": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 24]}},
    "negative": {"w": {"dtype": "F32", "shape": [-2, -3], "data_offsets": [0, 24]}},
    "backwards": {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [24, 0]}},
    "outside": {"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]}},
    "no such kind": {"w": {"dtype": "F13", "shape": [2, 3], "data_offsets": [0, 24]}},
    "no shape": {"w": {"dtype": "F32", "data_offsets": [0, 24]}},
    "text": {"w": "x"},
}


@pytest.mark.parametrize("header", TENSORS.values(), ids=TENSORS)
def test_an_impossible_tensor_is_skipped(tmp_path: Path, kept: Checkpoints, header: Any) -> None:
    text = json.dumps(header).encode()
    path = folder_of(tmp_path) / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(24))
    update_hashes(path.parent)
    assert latest_step(tmp_path, kept) == 1


PLACES = st.sampled_from(
    [
        ("fingerprint",),
        ("progress",),
        ("progress", "epoch"),
        ("progress", "step"),
        ("progress", "step_in_epoch"),
        ("progress", "sums"),
        ("progress", "sums", "loss_sum"),
        ("progress", "sums", "num_rows"),
        ("progress", "best"),
        ("progress", "best", "epoch"),
        ("progress", "best", "accuracy"),
        ("progress", "epochs"),
        ("progress", "later"),
    ]
)


@given(PLACES, ODD)
@settings(max_examples=200)
def test_a_state_of_odd_values_whose_hash_fits_is_loaded_typed_or_skipped(
    tmp_path: Path, kept: Checkpoints, place: tuple[str, ...], value: Any
) -> None:
    folder = restore(tmp_path, kept)
    state = json.loads((folder / "state.json").read_bytes())
    *parents, last = place
    inner = state
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    (folder / "state.json").write_text(json.dumps(state))
    update_hashes(folder)
    try:
        found = kept.latest(lambda step: JOB, EXPECTED)
    except CheckpointError as error:  # the odd fingerprint looks like that of another job
        assert "another job" in error.cause and place == ("fingerprint",)
        return
    assert found is not None
    progress = found.progress
    counts = [progress.epoch, progress.step, progress.step_in_epoch, progress.sums.num_rows]
    assert all(type(count) is int and 0 <= count < 2**63 for count in counts)
    assert isinstance(progress.sums.loss_sum, float | int)
    assert abs(progress.sums.loss_sum) < float("inf")
    assert progress.best is None or type(progress.best.epoch) is int
    assert all(isinstance(epoch, dict) for epoch in progress.epochs)
    assert progress.step in (1, 2)


@given(st.sampled_from(["step", "best", "sha256", "generation", "schema_version"]), ODD)
@settings(max_examples=80)
def test_a_manifest_of_odd_values_is_skipped_and_later_saves_work(
    tmp_path: Path, kept: Checkpoints, key: str, value: Any
) -> None:
    folder = restore(tmp_path, kept)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest[key] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    latest_step(tmp_path, kept)
    before = files_in(tmp_path, but=tmp_path / "run")
    kept.save(at_step(2))
    kept.save(at_step(3))
    assert latest_step(tmp_path, kept) == 3
    assert files_in(tmp_path, but=tmp_path / "run") == before
    shutil.rmtree(folder_of(tmp_path, 3))


@pytest.mark.parametrize(
    "name",
    [
        "step-\N{SUPERSCRIPT TWO}",
        "step-٣",
        "step-1",
        "step-",
        "step--1",
        "7",
        "step-" + "9" * 200,
        "x",
    ],
)
@pytest.mark.parametrize("is_folder", [True, False])
def test_other_names_in_the_folder_of_checkpoints_are_skipped(
    tmp_path: Path, kept: Checkpoints, name: str, is_folder: bool
) -> None:
    path = tmp_path / "run" / "checkpoints" / name
    if is_folder:
        path.mkdir()
    else:
        path.write_text("mine")
    assert latest_step(tmp_path, kept) == 2
    kept.save(at_step(3))
    assert latest_step(tmp_path, kept) == 3


def test_a_checkpoint_under_the_name_of_another_step_is_skipped(
    tmp_path: Path, kept: Checkpoints
) -> None:
    shutil.copytree(folder_of(tmp_path, 1), folder_of(tmp_path, 8))
    with pytest.raises(DamagedCheckpointError):
        kept.load(8, JOB, EXPECTED)
    assert latest_step(tmp_path, kept) == 2
