"""On one GPU, jobs on sequences of any lengths, tokens and numbers have one result, too."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import (
    CLASSES,
    EQUAL_VECTORS,
    NUMBER,
    TOKENS,
    VECTORS,
    loader_of,
    shape_of,
)
from workers.config import TrainJob
from workers.data.kinds import DataShape
from workers.gpu.queues import CudaQueue
from workers.gpu.shard_rows import GpuRows
from workers.models.compute_copy import ComputeCopy
from workers.models.recurrent import build_model
from workers.pieces import NUM_SUMS
from workers.shard_threads import ShardThreads, ThreadedRows
from workers.shards.held_rows import HeldRows
from workers.train import train
from workers.worker import SingleProcessWorker

GPU, CPU = torch.device("cuda"), torch.device("cpu")
WIDE = {"hidden_size": 48}
JOBS: dict[str, tuple[DataShape, dict[str, Any]]] = {
    "mean": (shape_of(VECTORS, CLASSES), {**WIDE, "bidirectional": True, "pooling": "mean"}),
    "last": (shape_of(VECTORS, CLASSES), {**WIDE, "bidirectional": True, "num_layers": 2}),
    "equal": (shape_of(EQUAL_VECTORS, CLASSES), {**WIDE, "cell": "gru"}),
    "numbers": (shape_of(VECTORS, NUMBER), {**WIDE, "dropout": 0.2, "num_layers": 2}),
    "tokens": (shape_of(TOKENS, CLASSES), {**WIDE, "embedding_size": 4, "pooling": "max"}),
}
EVERY_KIND = pytest.mark.parametrize("kind", list(JOBS))


def job_of(folder: Path, kind: str, precision: str) -> TrainJob:
    data, model = JOBS[kind]
    metric = "validation_loss" if kind == "numbers" else "validation_accuracy"
    return tiny_job(
        folder, data=data, model=model, training={"precision": precision, "metric": metric}
    )


def on_gpu(job: TrainJob, shards: range = range(4), **more: Any) -> list[Tensor]:
    """Return the gradient rows of the three steps of an epoch, the last of which is not full."""
    model = build_model(job.model, job.data, 0).to(GPU)
    computing = ComputeCopy(model, job.training.precision, GPU)
    computing.refresh()
    rows = HeldRows(job, shards, loader_of(job.data), GPU).epoch(0, 0)
    device = GpuRows(computing.module, job, shards, GPU, **more)
    return [device.compute(0, step, rows.step(step)).clone() for step in range(3)]


@EVERY_KIND
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_lanes_graphs_and_other_shards_change_no_bit(
    tmp_path: Path, kind: str, precision: str
) -> None:
    job = job_of(tmp_path, kind, precision)
    wanted = on_gpu(job)
    assert all(bool(rows[:, :-NUM_SUMS].any()) for rows in wanted)
    variants = [on_gpu(job, max_lanes=lanes) for lanes in (1, 2)]
    variants.append(on_gpu(job, new_queue=lambda device: CudaQueue(device, with_graphs=False)))
    for found in variants:
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    for shards in (range(1), range(1, 4)):
        found = on_gpu(job, shards)
        hosted = [rows[shards.start : shards.stop] for rows in wanted]
        assert all(torch.equal(a, b) for a, b in zip(found, hosted, strict=True))


@EVERY_KIND
def test_gradients_are_those_of_the_cpu_up_to_rounding(tmp_path: Path, kind: str) -> None:
    job = job_of(tmp_path, kind, "fp32")
    job = job.model_copy(update={"model": job.model.model_copy(update={"dropout": 0.0})})
    rows = HeldRows(job, range(4), loader_of(job.data), CPU).epoch(0, 0)
    threaded = ThreadedRows(build_model(job.model, job.data, 0), job, ShardThreads(1))
    for step, found in enumerate(on_gpu(job)):
        wanted = threaded.compute(0, step, rows.step(step))
        torch.testing.assert_close(found.cpu(), wanted, rtol=1e-4, atol=1e-4)


@EVERY_KIND
def test_a_job_gives_the_same_weights_twice(tmp_path: Path, kind: str) -> None:
    found = set()
    for name in ("one", "two"):
        job = job_of(tmp_path / name, kind, "fp32")
        worker = SingleProcessWorker(4, loader_of(job.data), lambda: None, GPU)
        found.add(train(job, worker).weights_sha256)
    assert len(found) == 1
