"""Jobs on sequences of vectors and of tokens, of any lengths, on one GPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import (
    CLASSES,
    EQUAL_VECTORS,
    NUMBER,
    TOKENS,
    VECTORS,
    Loader,
    shape_of,
)
from workers.config import TrainJob
from workers.data.kinds import DataShape
from workers.gpu.shard_rows import GpuRows
from workers.models.compute_copy import ComputeCopy
from workers.models.recurrent import build_model
from workers.train import train
from workers.worker import SingleProcessWorker

GPU = torch.device("cuda")
LONG_TOKENS = TOKENS.model_copy(update={"max_length": 100})
"""A step has more of them than torch adds up in its kernel for few rows of an embedding."""
SHAPES = {
    "vectors": shape_of(VECTORS, CLASSES),
    "equal vectors": shape_of(EQUAL_VECTORS, NUMBER),
    "tokens": shape_of(LONG_TOKENS, CLASSES),
    "tokens to numbers": shape_of(LONG_TOKENS, NUMBER),
}
CASES = [
    pytest.param(
        shape.model_copy(update={"train_rows": 1000}), precision, id=f"{name}, {precision}"
    )
    for name, shape in SHAPES.items()
    for precision in ("fp32", "bf16")
]


def job_of(folder: Path, shape: DataShape, precision: str) -> TrainJob:
    model: dict[str, Any] = {"hidden_size": 32, "num_layers": 2, "dropout": 0.1}
    model |= {"bidirectional": True, "embedding_size": 16 if shape.input.kind == "tokens" else 0}
    training = {"precision": precision, "global_batch_size": 512}
    return tiny_job(folder, data=shape, model=model, training=training)


@pytest.mark.parametrize(("shape", "precision"), CASES)
def test_a_job_learns_the_same_weights_twice(
    tmp_path: Path, shape: DataShape, precision: str
) -> None:
    load = Loader(shape)
    found = set()
    for name in ("one", "two"):
        job = job_of(tmp_path / name, shape, precision)
        result = train(job, SingleProcessWorker(shape.num_shards, load, device=GPU))
        assert result.steps == 4
        found.add(result.weights_sha256)
    assert len(found) == 1


@pytest.mark.parametrize(("shape", "precision"), CASES)
def test_other_shards_of_the_gpu_change_no_bit(
    tmp_path: Path, shape: DataShape, precision: str
) -> None:
    job, load = job_of(tmp_path, shape, precision), Loader(shape)
    model = build_model(job.model, job.data, 0).to(GPU)
    computing = ComputeCopy(model, precision, GPU)
    computing.refresh()
    first = torch.arange(100)
    batches = {s: load(s)["train"].take(first).to(GPU) for s in range(shape.num_shards)}
    together = GpuRows(computing.module, job, range(shape.num_shards), GPU)
    wanted = together.shard_rows(0, 0, batches).clone()
    assert bool(wanted.isfinite().all()) and bool((wanted != 0).any())
    for shard, rows in batches.items():
        alone = GpuRows(computing.module, job, range(shard, shard + 1), GPU)
        assert torch.equal(alone.shard_rows(0, 0, {shard: rows})[0], wanted[shard])
