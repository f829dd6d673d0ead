"""Models of the user's own on one GPU, where the calls of a step are recorded."""

from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.unit.folders import empty_run
from tests.unit.simulated import tiny_job
from tests.unit.workers.data.data_sets import CLASSES, EQUAL_VECTORS, VECTORS, Loader, shape_of
from tests.unit.workers.models.own.sources import config
from workers.config import TrainJob
from workers.data.kinds import DataShape
from workers.errors import ModelFailedError
from workers.gpu.queues import CudaQueue
from workers.gpu.shard_rows import GpuRows
from workers.models.build import model_of
from workers.models.compute_copy import ComputeCopy
from workers.models.own.code import ModelCode, write_code
from workers.models.own.installed import code_of
from workers.train import train
from workers.worker import SingleProcessWorker

GPU = torch.device("cuda")
EXAMPLE = (ROOT / "examples" / "conv_gru.py").read_text()
SHAPES = [
    pytest.param(shape_of(source, CLASSES).model_copy(update={"train_rows": 1000}), id=name)
    for name, source in (("lengths", VECTORS), ("equal", EQUAL_VECTORS))
]


def job_of(
    folder: Path, shape: DataShape, precision: str = "fp32", text: str = EXAMPLE
) -> TrainJob:
    own = ModelCode({"net.py": text.encode()})
    run = empty_run(folder)
    run.storage.create()
    write_code(run, own)
    training = {"precision": precision, "global_batch_size": 512}
    job = tiny_job(folder, data=shape, training=training)
    return job.model_copy(update={"model": config(own, "net.py:ConvGru", dropout=0.3)})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_job_learns_the_same_weights_twice(
    tmp_path: Path, shape: DataShape, precision: str
) -> None:
    load, found = Loader(shape), set()
    for name in ("one", "two"):
        job = job_of(tmp_path / name, shape, precision)
        result = train(job, SingleProcessWorker(shape.num_shards, load, device=GPU))
        found.add(result.weights_sha256)
    assert len(found) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_graphs_and_other_shards_change_no_bit_and_each_step_drops_others(
    tmp_path: Path, shape: DataShape, precision: str
) -> None:
    job, load = job_of(tmp_path, shape, precision), Loader(shape)
    first = torch.arange(100)
    batches = {s: load(s)["train"].take(first).to(GPU) for s in range(shape.num_shards)}
    with code_of(job):
        computing = ComputeCopy(model_of(job).to(GPU), precision, GPU)
        computing.refresh()
        model, shards = computing.module, range(shape.num_shards)
        together = GpuRows(model, job, shards, GPU)
        wanted = together.shard_rows(0, 0, batches).clone()
        assert bool(wanted.isfinite().all()) and bool((wanted != 0).any())
        assert not torch.equal(together.shard_rows(0, 1, batches), wanted)
        assert torch.equal(together.shard_rows(0, 0, batches), wanted)
        one_by_one = GpuRows(
            model, job, shards, GPU, lambda device: CudaQueue(device, with_graphs=False)
        )
        assert torch.equal(one_by_one.shard_rows(0, 0, batches), wanted)
        for shard, rows in batches.items():
            alone = GpuRows(model, job, range(shard, shard + 1), GPU)
            assert torch.equal(alone.shard_rows(0, 0, {shard: rows})[0], wanted[shard])


def test_a_model_that_asks_for_a_value_is_refused_with_its_line(tmp_path: Path) -> None:
    text = EXAMPLE.replace("# The input", "assert float(x_BTF.sum()) is not None  # The input")
    job = job_of(tmp_path, shape_of(VECTORS, CLASSES), text=text)
    with pytest.raises(ModelFailedError) as caught:
        train(job, SingleProcessWorker(4, Loader(job.data), device=GPU))
    assert "net.py:" in caught.value.cause
    assert "torch.where" in caught.value.cure
