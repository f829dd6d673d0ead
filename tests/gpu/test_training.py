"""Whole trainings on one GPU, in this process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.datasets.prepare import prepare
from tests.unit.simulated import single, tiny_job
from workers.config import SPLITS, TrainJob
from workers.data.rows import ShardData
from workers.data.tables import rows_from_table
from workers.errors import DivergedError
from workers.records.run_folder import StopRequest
from workers.records.train_result import TrainResult
from workers.shards import held_rows
from workers.shards.held_rows import HeldRows
from workers.train import train
from workers.worker import SingleProcessWorker

GPU = torch.device("cuda")


class Sample:
    """The digits that come with rnnjob, as a job of 8 shards."""

    def __init__(self) -> None:
        self.data = prepare("mnist-sample", None, 8, "auto", True, 0)

    def job(self, folder: Path, **training: Any) -> TrainJob:
        values = {"epochs": 2, "global_batch_size": 512, "precision": "fp32", "gradient_clip": 1.0}
        return tiny_job(
            folder,
            data=self.data.shape,
            model={"hidden_size": 128},
            training={**values, **training},
        )

    def load(self, shard: int) -> ShardData:
        return {
            split: rows_from_table(self.data.table(split, shard), self.data.shape)
            for split in SPLITS
        }

    def train(
        self, job: TrainJob, stop: Callable[[], StopRequest | None] = lambda: None
    ) -> TrainResult:
        worker = SingleProcessWorker(job.data.num_shards, self.load, stop, GPU, self.data.shard)
        return train(job, worker)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return Sample()


def stop_in(step: int) -> Callable[[], StopRequest | None]:
    calls = iter(range(1, 10_000))
    return lambda: StopRequest("the test wants it") if next(calls) == step else None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_job_learns_the_same_weights_twice_and_after_a_stop(
    tmp_path: Path, sample: Sample, precision: str
) -> None:
    whole = sample.train(sample.job(tmp_path / "whole", precision=precision, epochs=4))
    assert whole.test["accuracy"] > 0.8
    again = sample.train(sample.job(tmp_path / "again", precision=precision, epochs=4))
    assert again.weights_sha256 == whole.weights_sha256
    cut = sample.job(tmp_path / "cut", precision=precision, epochs=4)
    assert sample.train(cut, stop_in(11)).steps == 11
    resumed = sample.train(cut)
    assert resumed.steps == whole.steps
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.test == whole.test


def test_rows_beside_the_gpu_give_the_same_bits(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = sample.train(sample.job(tmp_path / "held"))
    monkeypatch.setattr(held_rows, "fits_gpu", lambda device, num_bytes: False)
    streamed = sample.train(sample.job(tmp_path / "streamed"))
    assert streamed.weights_sha256 == held.weights_sha256
    assert streamed.test == held.test


def test_streamed_rows_give_the_bits_of_held_rows(tmp_path: Path, sample: Sample) -> None:
    windowed = sample.job(tmp_path / "held").model_copy(update={"window": 128})
    held = sample.train(windowed)
    folder = {"run_id": "streamed", "run_uri": str(tmp_path / "streamed")}
    (tmp_path / "streamed").mkdir()
    streamed = sample.train(windowed.model_copy(update={"is_streamed": True, **folder}))
    assert streamed.weights_sha256 == held.weights_sha256
    assert streamed.test == held.test


def test_a_job_that_has_ended_holds_no_memory_of_the_gpu(tmp_path: Path, sample: Sample) -> None:
    """The first job also leaves the workspaces of the libraries, which the second one uses."""
    after = []
    for name in ("first", "second", "third"):
        sample.train(sample.job(tmp_path / name, precision="bf16"))
        after.append(torch.cuda.memory_allocated())
    assert after[2] <= after[1] + 2**20, after


def test_the_rows_lie_on_the_gpu_once(tmp_path: Path, sample: Sample) -> None:
    job = sample.job(tmp_path)
    before = torch.cuda.memory_allocated()
    held = HeldRows(job, range(8), sample.load, GPU)
    taken = torch.cuda.memory_allocated() - before
    num_bytes = sum(rows.num_bytes for shard in held.shards.values() for rows in shard.values())
    assert num_bytes <= taken <= 1.1 * num_bytes + 2**20


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_job_that_diverges_says_so(tmp_path: Path, sample: Sample, optimizer: str) -> None:
    values = {"name": optimizer, "lr": 1e30}
    job = sample.job(tmp_path / optimizer, optimizer=values, gradient_clip=0, schedule="constant")
    with pytest.raises(DivergedError, match="diverged"):
        sample.train(job)


def test_the_tiny_job_of_the_cpu_tests_trains(tmp_path: Path) -> None:
    job = tiny_job(tmp_path / "run")
    worker = single(job)
    worker.device = GPU
    assert train(job, worker).steps == 6


def test_no_step_waits_for_the_gpu_before_its_end(
    tmp_path: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA itself reports each wait of the host. A step has those of its outcome."""
    from workers.gradients import Gradients

    step = Gradients.step

    def watched(*arguments: Any) -> Any:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(*arguments)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(Gradients, "step", watched)
    assert sample.train(sample.job(tmp_path / "run")).steps > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_full_mnist_reaches_985(tmp_path: Path, precision: str) -> None:
    """`make test-gpu PYTEST_ADDOPTS=-s` prints how long that took."""
    import os

    folder = os.environ.get("RNNJOB_DATA_DIR")
    if not folder:
        pytest.skip("needs RNNJOB_DATA_DIR, the folder with MNIST's idx files, and it is not set")
    sample = Sample()
    sample.data = prepare("mnist", Path(folder), 8, "auto", True, 0)
    default = {
        "precision": precision,
        "epochs": 4,
        "schedule": "one-cycle",
        "keep": "best",
        "optimizer": {"name": "adamw", "lr": 0.016, "weight_decay": 0.1},
    }
    started = time.perf_counter()
    result = sample.train(sample.job(tmp_path / "mnist", **default))
    wall_s = time.perf_counter() - started
    train_s = sum(epoch["train_s"] for epoch in result.epochs)
    accuracy = f"accuracy {result.test['accuracy']:.4f}"
    print(f"{precision}: {accuracy}, {train_s:.2f} s of training in {wall_s:.2f} s")
    assert result.test["accuracy"] >= 0.985


def test_the_doctor_finds_one_arithmetic_on_each_gpu() -> None:
    from orchestrator.doctor.gpus import check_gpus

    found = check_gpus()
    assert len(found) == 1 + torch.cuda.device_count()
    assert {check.state for check in found} == {"ok"}, found
    print("\n".join(f"{check.name}: {check.detail}" for check in found))
