"""A checkpoint with a valid manifest that no job of this spec has written is skipped.

Whoever can write into a storage can write the hashes, too.
"""

import hashlib
import json
import logging
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tests.unit.simulated import expected_of, single, tiny_job
from workers.checkpoints.background_writer import CheckpointWriter
from workers.checkpoints.checkpoint import Checkpoints
from workers.config import TrainJob
from workers.errors import CheckpointError, DamagedCheckpointError
from workers.records.run_folder import RunFolder
from workers.train import train

KEEP_ALL = {"every_steps": 1, "keep_latest": 20}
STOPPED_AT = 5  # in the second of two epochs
Tensors = dict[str, Tensor]


@pytest.fixture(autouse=True)
def never_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CheckpointWriter, "is_busy", False)


def stopped_job(folder: Path, **changes: Any) -> TrainJob:
    """Return a job that stopped in its fifth step, and has a checkpoint of each."""
    job = tiny_job(folder, checkpoint=KEEP_ALL, **changes)
    train(job, single(job, STOPPED_AT))
    return job


def newest(job: TrainJob) -> Path:
    return Path(job.run_uri) / "checkpoints" / f"step-{STOPPED_AT:08d}"


def rewrite(folder: Path, name: str, data: bytes) -> None:
    """Replace a file of a checkpoint, and its hash in the manifest."""
    (folder / name).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def change_tensors(name: str, change: Callable[[Tensors], object]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        tensors = safetensors.torch.load((folder / name).read_bytes())
        change(tensors)
        copies = {key: tensor.clone().contiguous() for key, tensor in tensors.items()}
        rewrite(folder, name, safetensors.torch.save(copies))

    return act


def change_progress(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        state = json.loads((folder / "state.json").read_bytes())
        change(state["progress"])
        rewrite(folder, "state.json", json.dumps(state).encode())

    return act


def replace_all(tensors: Tensors, value: Tensor, suffix: str = "") -> None:
    tensors.update({name: value for name in tensors if name.endswith(suffix)})


TERABYTES = json.dumps(
    {"head.weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
).encode()
HEAD, STEP = "head.weight", "head.weight/step"
HARM: dict[str, Callable[[Path], None]] = {
    "a missing tensor": change_tensors("model.safetensors", lambda t: t.pop(HEAD)),
    "no tensor at all": change_tensors("model.safetensors", lambda t: t.clear()),
    "another shape": change_tensors("model.safetensors", lambda t: t.update({HEAD: t[HEAD].T})),
    "one number": change_tensors("model.safetensors", lambda t: t.update({HEAD: t[HEAD].sum()})),
    "another dtype": change_tensors(
        "model.safetensors", lambda t: t.update({HEAD: t[HEAD].double()})
    ),
    "a tensor too many": change_tensors(
        "model.safetensors", lambda t: t.update({"../../x": t[HEAD]})
    ),
    "a moment of another shape": change_tensors(
        "optimizer.safetensors", lambda t: replace_all(t, torch.zeros(1), "exp_avg")
    ),
    "no moment": change_tensors("optimizer.safetensors", lambda t: t.pop("head.weight/exp_avg")),
    "moments of no parameter": change_tensors(
        "optimizer.safetensors", lambda t: t.update({"x/exp_avg": torch.zeros(1)})
    ),
    "a count that divides by zero": change_tensors(
        "optimizer.safetensors", lambda t: replace_all(t, torch.tensor(-1.0), "/step")
    ),
    "a count that is no number": change_tensors(
        "optimizer.safetensors", lambda t: t.update({STEP: torch.tensor(float("nan"))})
    ),
    "no best weights": change_tensors("best.safetensors", lambda t: t.clear()),
    "a header of terabytes": lambda folder: rewrite(
        folder, "model.safetensors", (2**42).to_bytes(8, "little") + b"{"
    ),
    "a tensor of terabytes": lambda folder: rewrite(
        folder, "model.safetensors", len(TERABYTES).to_bytes(8, "little") + TERABYTES
    ),
    "a later step": change_progress(lambda p: p.update(step_in_epoch=3)),
    "an epoch too many": change_progress(lambda p: p.update(epoch=7)),
    "an epoch without its record": change_progress(lambda p: p.update(epochs=[])),
    "an epoch's record without its values": change_progress(
        lambda p: p.update(epochs=[{"epoch": 1}])
    ),
    "an unknown best epoch": change_progress(lambda p: p["best"].update(epoch=9)),
    "no best epoch": change_progress(lambda p: p.update(best=None)),
    "sums of no time": change_progress(lambda p: p["sums"].update(wall_s=0.0)),
    "sums of other rows": change_progress(lambda p: p["sums"].update(num_rows=1)),
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The SHA-256 of the weights of the job that nothing disturbs."""
    job = tiny_job(tmp_path_factory.mktemp("whole"))
    return str(train(job, single(job)).weights_sha256)


@pytest.mark.parametrize("harm", HARM)
def test_the_checkpoint_before_is_taken_and_the_weights_are_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, weights: str, harm: str
) -> None:
    job = stopped_job(tmp_path / "run")
    HARM[harm](newest(job))
    with caplog.at_level(logging.INFO):
        resumed = train(job, single(job))
    assert f"skipping a damaged checkpoint: {newest(job)}" in caplog.text
    assert f"going on from the checkpoint of step {STOPPED_AT - 1}" in caplog.text
    assert resumed.weights_sha256 == weights


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("changes", [{}, {"steps": 5}, {"keep": "last"}])
def test_every_checkpoint_of_a_job_is_what_is_expected_of_it(
    tmp_path: Path, optimizer: str, momentum: float, changes: dict[str, Any]
) -> None:
    training = {"optimizer": {"name": optimizer, "lr": 0.01, "momentum": momentum}, **changes}
    model = {"train_recurrent_bias": False, "num_layers": 2, "bidirectional": True}
    job = tiny_job(tmp_path / "run", checkpoint=KEEP_ALL, training=training, model=model)
    train(job, single(job))
    kept = Checkpoints(RunFolder.at(job.run_uri), job.checkpoint)
    assert kept.steps() == list(range(1, 1 + (changes.get("steps") or 6)))
    for step in kept.steps():
        kept.load(step, job.fingerprint, expected_of(job))


@pytest.mark.parametrize("name", ["model", "optimizer", "best"])
def test_a_file_that_is_larger_than_the_model_takes_no_memory(tmp_path: Path, name: str) -> None:
    job = stopped_job(tmp_path / "run")
    file = newest(job) / f"{name}.safetensors"
    with open(file, "r+b") as opened:
        opened.truncate(3 * 2**30)
    kept, expected = Checkpoints(RunFolder.at(job.run_uri), job.checkpoint), expected_of(job)
    tracemalloc.start()
    try:
        with pytest.raises(DamagedCheckpointError, match=r"has 3,221,225,472 bytes, and no more"):
            kept.load(STOPPED_AT, job.fingerprint, expected)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_a_larger_checkpoint_of_another_job_is_still_an_error(tmp_path: Path) -> None:
    """It must not be taken for a damaged one, which the run would delete."""
    large = stopped_job(tmp_path / "run", model={"hidden_size": 128}, fingerprint="b" * 64)
    job = tiny_job(tmp_path / "run")
    kept = Checkpoints(RunFolder.at(large.run_uri), large.checkpoint)
    with pytest.raises(CheckpointError, match="belongs to another job"):
        kept.latest(lambda _: job.fingerprint, expected_of(job))


def test_a_pipe_or_a_link_in_a_checkpoint_costs_only_that_checkpoint(
    tmp_path: Path, weights: str
) -> None:
    job = stopped_job(tmp_path / "run")
    mine = tmp_path / "mine"
    newest(job).rename(mine)
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    newest(job).symlink_to(mine)
    (newest(job).parent / "step-00000004" / "state.json").unlink()
    os.mkfifo(newest(job).parent / "step-00000004" / "state.json")
    assert train(job, single(job)).weights_sha256 == weights
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before
    assert not any(path.is_symlink() for path in newest(job).parent.iterdir())


def test_a_job_does_not_train_into_a_folder_of_checkpoints_elsewhere(tmp_path: Path) -> None:
    job = stopped_job(tmp_path / "run")
    mine = tmp_path / "mine"
    newest(job).parent.rename(mine)
    before = sorted(mine.rglob("*"))
    newest(job).parent.symlink_to(mine)
    with pytest.raises(Exception, match=r"checkpoints leads out of .*run, through a symbolic link"):
        train(job, single(job))
    assert sorted(mine.rglob("*")) == before
