"""Checkpoints: they are saved atomically, and damage is detected."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.folders import empty_run
from tests.unit.runs.whole_records import epoch as epoch_record
from tests.unit.workers.checkpoints.expectations import expected_like
from workers.checkpoints import checkpoint as checkpoint_module
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.checkpoints.progress import Best, EpochSums, Progress
from workers.config import CheckpointConfig
from workers.errors import CheckpointError, StorageError
from workers.storage.storage import Storage

JOB = "a" * 64


def at_step(step: int, best_epoch: int = 0, in_epoch: int = 0, epoch: int = 0) -> Checkpoint:
    progress = Progress(
        epoch=epoch,
        step=step,
        step_in_epoch=in_epoch,
        sums=EpochSums(loss_sum=1.5, score_sum=3, num_rows=4, wall_s=0.25),
        best=Best(best_epoch, 0.5, 0.75) if best_epoch else None,
        epochs=[epoch_record(1, 2)],
    )
    tensors = {"w": torch.full((2, 3), float(step))}
    best = {"w": torch.full((2, 3), -1.0)} if best_epoch else {}
    return Checkpoint(JOB, progress, tensors, {"w/exp_avg": tensors["w"] * 2}, best)


EXPECTED = expected_like(at_step(0))


def checkpoints(folder: Path, keep_latest: int = 5, keep_best: int = 1) -> Checkpoints:
    config = CheckpointConfig(keep_latest=keep_latest, keep_best=keep_best)
    return Checkpoints(empty_run(folder), config)


def folder_of(folder: Path, step: int) -> Path:
    return folder / "checkpoints" / f"step-{step:08d}"


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = at_step(7, best_epoch=1, in_epoch=2, epoch=1)
    kept = checkpoints(tmp_path)
    kept.save(saved)
    loaded = kept.load(7, JOB, EXPECTED)
    assert loaded.progress == saved.progress
    assert loaded.fingerprint == JOB
    for name in ("model", "optimizer", "best"):
        got, wanted = getattr(loaded, name), getattr(saved, name)
        assert got.keys() == wanted.keys()
        assert all(torch.equal(got[key], wanted[key]) for key in wanted)


def test_the_newest_good_checkpoint_is_the_latest(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    assert kept.latest(lambda _: JOB, EXPECTED) is None
    for step in (3, 12, 100):
        kept.save(at_step(step))
    assert kept.steps() == [3, 12, 100]
    latest = kept.latest(lambda _: JOB, EXPECTED)
    assert latest is not None
    assert latest.progress.step == 100


def test_the_latest_checkpoints_and_that_of_the_last_best_epoch_are_kept(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, keep_latest=2, keep_best=1)
    for epoch, best in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2)]:
        kept.save(at_step(epoch * 10, best_epoch=best, epoch=epoch))
    assert kept.steps() == [20, 40, 50]


def test_a_checkpoint_in_mid_epoch_is_not_the_best_one(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, keep_latest=1, keep_best=1)
    kept.save(at_step(10, best_epoch=1, epoch=1))
    kept.save(at_step(11, best_epoch=1, epoch=1, in_epoch=1))
    kept.save(at_step(12, best_epoch=1, epoch=1, in_epoch=2))
    assert kept.steps() == [10, 12]


def test_no_best_checkpoint_is_kept_if_keep_best_is_0(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, keep_latest=1, keep_best=0)
    for epoch in (1, 2):
        kept.save(at_step(epoch, best_epoch=1, epoch=epoch))
    assert kept.steps() == [2]


@pytest.mark.parametrize(
    "file",
    ["model.safetensors", "optimizer.safetensors", "best.safetensors", "state.json"],
)
@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing"])
def test_a_damaged_checkpoint_is_skipped_for_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, file: str, harm: str
) -> None:
    kept = checkpoints(tmp_path)
    for step in (1, 2):
        kept.save(at_step(step, best_epoch=1))
    path = folder_of(tmp_path, 2) / file
    data = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[-1] ^= 0x01
        path.write_bytes(data)
    text = "is incomplete or damaged" if harm == "missing" else f"step-00000002/{file} is damaged"
    with pytest.raises(CheckpointError, match=text):
        kept.load(2, JOB, EXPECTED)
    with caplog.at_level(logging.WARNING):
        latest = kept.latest(lambda _: JOB, EXPECTED)
    assert latest is not None
    assert latest.progress.step == 1
    assert "skipping a damaged checkpoint" in caplog.text


def test_a_checkpoint_without_a_manifest_is_skipped(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    for step in (1, 2):
        kept.save(at_step(step))
    (folder_of(tmp_path, 2) / "manifest.json").unlink()
    latest = kept.latest(lambda _: JOB, EXPECTED)
    assert latest is not None
    assert latest.progress.step == 1


def test_an_unfinished_checkpoint_does_not_replace_a_complete_one(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path, keep_latest=2)
    for step in (1, 2):
        kept.save(at_step(step))
    (folder_of(tmp_path, 2) / "manifest.json").unlink()
    kept.save(at_step(3))
    assert kept.steps() == [1, 3]


def test_the_newest_checkpoint_is_kept_even_if_a_damaged_one_has_a_later_step(
    tmp_path: Path,
) -> None:
    """A job that skipped a damaged checkpoint goes on from an earlier step."""
    kept = checkpoints(tmp_path, keep_latest=1)
    kept.save(at_step(9))
    (folder_of(tmp_path, 9) / "model.safetensors").write_bytes(b"damaged")
    kept.save(at_step(5))
    latest = kept.latest(lambda _: JOB, EXPECTED)
    assert latest is not None, "the only good checkpoint was deleted"
    assert latest.progress.step == 5


def test_another_jobs_checkpoint_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    kept = checkpoints(tmp_path)
    kept.save(at_step(4))
    with pytest.raises(CheckpointError) as caught:
        kept.load(4, "b" * 64, EXPECTED)
    assert (
        "belongs to another job: fingerprint aaaaaaaaaaaa, not bbbbbbbbbbbb" in caught.value.cause
    )
    assert caught.value.cure == "start a new run for a changed spec"
    with pytest.raises(CheckpointError, match="belongs to another job"):
        kept.latest(
            lambda _: "b" * 64, EXPECTED
        )  # starting again at step 0 would lose the checkpoint


def test_a_checkpoint_of_another_definition_is_used_but_not_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = checkpoints(tmp_path)
    monkeypatch.setattr(checkpoint_module, "DEFINITION", 1)
    kept.save(at_step(4))
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="version 1 of what a result is") as caught:
        kept.load(4, JOB, EXPECTED)
    assert "rnnjob submit -c" in caught.value.cure
    loaded = kept.load(4, "b" * 64, replace(EXPECTED, is_for_use=True))
    assert torch.equal(loaded.model["w"], at_step(4).model["w"])


def test_a_missing_step_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="step-00000003 is incomplete or damaged"):
        checkpoints(tmp_path).load(3, JOB, EXPECTED)


def load_with_manifest(folder: Path, manifest: bytes) -> None:
    kept = checkpoints(folder)
    if not kept.steps():
        kept.save(at_step(1))
    (folder_of(folder, 1) / "manifest.json").write_bytes(manifest)
    with pytest.raises(CheckpointError):
        kept.load(1, JOB, EXPECTED)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
FILES = st.sampled_from(["model.safetensors", "state.json", "x"])


@given(manifest=st.binary(max_size=60))
def test_any_bytes_as_manifest_are_a_checkpoint_error(tmp_path: Path, manifest: bytes) -> None:
    load_with_manifest(tmp_path, manifest)


@given(content=JSON | st.fixed_dictionaries({"sha256": JSON | st.dictionaries(FILES, JSON)}))
def test_any_json_as_manifest_is_a_checkpoint_error(tmp_path: Path, content: object) -> None:
    load_with_manifest(tmp_path, json.dumps(content).encode())


@pytest.mark.parametrize(
    "manifest",
    [
        b'{"sha256": {"": "x"}}',
        b'{"sha256": {"..": "x"}}',
        b'{"sha256": {"state.json/x": "x"}}',
        b'{"sha256": {"a\\u0000b": "x"}}',
        b"[" * 100_000,
    ],
    ids=["empty name", "folder above", "below a file", "zero byte", "deep"],
)
def test_a_manifest_of_impossible_file_names_is_a_checkpoint_error(
    tmp_path: Path, manifest: bytes
) -> None:
    load_with_manifest(tmp_path, manifest)


@pytest.mark.parametrize(
    "manifest", [b"[" * 100_000, b'{"sha256": {"": "x"}}'], ids=["deep", "name"]
)
def test_a_damaged_manifest_does_not_prevent_later_saves(tmp_path: Path, manifest: bytes) -> None:
    kept = checkpoints(tmp_path)
    kept.save(at_step(1))
    (folder_of(tmp_path, 1) / "manifest.json").write_bytes(manifest)
    kept.save(at_step(2))
    latest = kept.latest(lambda _: JOB, EXPECTED)
    assert latest is not None
    assert latest.progress.step == 2


def fail_to_write(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """Make every later write of a file of that name fail."""
    write = Storage.write

    def failing(storage: Storage, name: str, data: bytes) -> None:
        if name.endswith(file):
            raise StorageError(f"cannot write {name}: No space left on device")
        write(storage, name, data)

    monkeypatch.setattr(Storage, "write", failing)


EVERY_FILE = [
    "model.safetensors",
    "optimizer.safetensors",
    "best.safetensors",
    "state.json",
    "manifest.json",
]


@pytest.mark.parametrize("file", EVERY_FILE)
def test_a_failed_save_leaves_the_earlier_checkpoints_and_none_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    kept = checkpoints(tmp_path, keep_latest=1, keep_best=0)
    kept.save(at_step(1))
    fail_to_write(monkeypatch, file)
    with pytest.raises(StorageError):
        kept.save(at_step(2))
    assert kept.steps() == [1]
    kept.load(1, JOB, EXPECTED)


@pytest.mark.parametrize("file", EVERY_FILE)
def test_a_failed_second_save_of_a_step_leaves_its_first_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """A job stopped after the last step of an epoch saves that step again at the epoch's end."""
    kept = checkpoints(tmp_path, keep_latest=1, keep_best=0)
    kept.save(at_step(1, in_epoch=1))
    with monkeypatch.context() as patch:
        fail_to_write(patch, file)
        with pytest.raises(StorageError):
            kept.save(at_step(1, best_epoch=1, epoch=1))
    assert kept.load(1, JOB, EXPECTED).progress.step_in_epoch == 1
    for epoch in (1, 2):
        kept.save(at_step(1, best_epoch=1, epoch=epoch))
        assert (
            kept.load(1, JOB, EXPECTED).progress == at_step(1, best_epoch=1, epoch=epoch).progress
        )


@given(where=st.integers(0, 10_000))
def test_a_flipped_bit_anywhere_in_a_manifest_is_detected(tmp_path: Path, where: int) -> None:
    kept = checkpoints(tmp_path)
    kept.save(at_step(1, best_epoch=1))
    path = folder_of(tmp_path, 1) / "manifest.json"
    data = bytearray(path.read_bytes())
    data[where // 8 % len(data)] ^= 1 << where % 8
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        kept.load(1, JOB, EXPECTED)
