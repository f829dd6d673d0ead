"""On one GPU, a job has one result: whatever runs beside what, with graphs or without."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.simulated import shard_of, tiny_job, tiny_shape
from tests.unit.workers.test_gradients import random_rows
from workers.config import TrainJob
from workers.data.rows import Rows
from workers.gpu import shard_rows
from workers.gpu.queues import CudaQueue
from workers.gpu.shard_rows import GpuRows
from workers.models.compute_copy import ComputeCopy
from workers.models.recurrent import build_model
from workers.pieces import NUM_SUMS
from workers.shard_threads import ShardThreads, ThreadedRows

GPU = torch.device("cuda")
SHARDS = 8
NOISE: dict[str, Any] = {
    "model": {"dropout": 0.3, "num_layers": 2, "hidden_size": 64},
    "augment": {"shift_px": 1.5, "rotate_deg": 20.0, "scale": 0.2, "shear": 0.2},
}
MODELS: dict[str, dict[str, Any]] = {
    "lstm": {"model": {"hidden_size": 128}},
    "wide": {"model": {"hidden_size": 512}},
    "gru": {"model": {"hidden_size": 100, "cell": "gru", "bidirectional": True}},
    "rnn": {"model": {"hidden_size": 64, "cell": "rnn", "pooling": "max"}},
    "noise": NOISE,
    "truncated": {"model": {"hidden_size": 64}, "training": {"bptt_steps": 10}},
}


def job_of(folder: Path, name: str, precision: str = "fp32", **training: Any) -> TrainJob:
    parts = dict(MODELS[name])
    more = {"precision": precision, "global_batch_size": 512, **training}
    training = {**parts.pop("training", {}), **more}
    shape = tiny_shape(height=28, width=28, num_shards=SHARDS, num_classes=10, train_rows=8192)
    return tiny_job(folder, data=shape, training=training, **parts)


def copy_of_model(job: TrainJob) -> Any:
    """Return the job's first model on the GPU, in the precision of the job."""
    model = build_model(job.model, job.data, 0, job.training.bptt_steps).to(GPU)
    computing = ComputeCopy(model, job.training.precision, GPU)
    computing.refresh()
    return computing.module


def on_gpu(job: TrainJob, rows: Rows, shards: range = range(SHARDS), **more: Any) -> Tensor:
    """Return the gradient rows of the hosted shards, computed three times with equal bits."""
    gpu_rows = GpuRows(copy_of_model(job), job, shards, GPU, **more)
    batches = {shard: shard_of(rows, SHARDS, shard).to(GPU) for shard in shards}
    first = gpu_rows.shard_rows(0, 2, batches).clone()
    for _ in range(2):
        assert torch.equal(gpu_rows.shard_rows(0, 2, batches), first)
    return first


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", list(MODELS))
def test_lanes_graphs_and_other_shards_change_no_bit(
    tmp_path: Path, name: str, precision: str
) -> None:
    job = job_of(tmp_path, name, precision)
    rows = random_rows(512, job.data)
    wanted = on_gpu(job, rows)
    assert bool(wanted.isfinite().all()) and bool((wanted[:, :-NUM_SUMS] != 0).any())
    for lanes in (1, 2, 4):
        assert torch.equal(on_gpu(job, rows, max_lanes=lanes), wanted)
    without = on_gpu(job, rows, new_queue=lambda device: CudaQueue(device, with_graphs=False))
    assert torch.equal(without, wanted)
    for shards in (range(1), range(1, 4), range(4, 8)):
        assert torch.equal(on_gpu(job, rows, shards), wanted[shards.start : shards.stop])


def test_the_order_of_the_lanes_changes_no_bit(tmp_path: Path) -> None:
    job = job_of(tmp_path, "lstm")
    rows = random_rows(512, job.data)
    model = build_model(job.model, job.data, 0, job.training.bptt_steps).to(GPU)
    gpu_rows = GpuRows(model, job, range(SHARDS), GPU)
    batches = {shard: shard_of(rows, SHARDS, shard).to(GPU) for shard in range(SHARDS)}
    wanted = gpu_rows.shard_rows(0, 2, batches).clone()
    for _ in range(10):
        gpu_rows._lanes.reverse()
        assert torch.equal(gpu_rows.shard_rows(0, 2, batches), wanted)
        gpu_rows._lanes.append(gpu_rows._lanes.pop(0))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", list(MODELS))
def test_a_smaller_last_step_has_the_bits_of_a_fresh_process(
    tmp_path: Path, name: str, precision: str
) -> None:
    job = job_of(tmp_path, name, precision)
    used = GpuRows(copy_of_model(job), job, range(SHARDS), GPU)
    for number in (512, 37, 512):
        rows = random_rows(number, job.data)
        batches = {shard: shard_of(rows, SHARDS, shard).to(GPU) for shard in range(SHARDS)}
        assert torch.equal(used.shard_rows(0, 2, batches), on_gpu(job, rows))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_without_rows_of_the_hosted_shards_adds_nothing(
    tmp_path: Path, precision: str
) -> None:
    """The other workers have the last rows of the epoch."""
    job = job_of(tmp_path, "lstm", precision)
    hosted = range(4, 8)
    used = GpuRows(copy_of_model(job), job, hosted, GPU)
    for number in (512, 3, 512):
        rows = random_rows(number, job.data)
        batches = {shard: shard_of(rows, SHARDS, shard).to(GPU) for shard in hosted}
        found = used.shard_rows(0, 2, batches).clone()
        assert bool((found != 0).any()) == (number == 512)
    assert torch.equal(found, on_gpu(job, rows, hosted))


@pytest.mark.parametrize("rows_per_call", [16, 32])
def test_a_shard_may_take_several_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_per_call: int
) -> None:
    job = job_of(tmp_path, "lstm")
    monkeypatch.setattr(shard_rows, "_MAX_OUTPUTS", rows_per_call * 28 * 128)
    rows = random_rows(512, job.data)
    assert torch.equal(on_gpu(job, rows, max_lanes=3), on_gpu(job, rows))


@pytest.mark.parametrize(
    ("name", "gradients", "precision", "tolerance"),
    [
        *((name, "exact", "fp32", 1e-4) for name in MODELS if name != "noise"),
        ("lstm", "fused", "fp32", 1e-4),
        *((name, "exact", "bf16", 3e-2) for name in ("lstm", "wide", "gru")),
        ("lstm", "fused", "bf16", 3e-2),
    ],
)
def test_the_gradient_is_that_of_a_cpu_up_to_rounding(
    tmp_path: Path, name: str, gradients: str, precision: str, tolerance: float
) -> None:
    """The distance is relative to the length of the CPU's gradient in fp32."""
    job = job_of(tmp_path, name, precision, gradients=gradients)
    rows = random_rows(500, job.data)
    found = on_gpu(job, rows).sum(dim=0).cpu()
    reference = job_of(tmp_path, name, "fp32")
    model = build_model(job.model, job.data, 0, job.training.bptt_steps)
    batches = {shard: shard_of(rows, SHARDS, shard) for shard in range(SHARDS)}
    wanted = ThreadedRows(model, reference, range(SHARDS), ShardThreads(1)).compute(0, 2, batches)[
        0
    ]
    distance = (found - wanted)[:-NUM_SUMS].norm() / wanted[:-NUM_SUMS].norm()
    assert distance < tolerance
    assert found[-3] == 500


@pytest.fixture
def peak() -> Iterator[Callable[[], int]]:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    yield lambda: torch.cuda.max_memory_reserved()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["lstm", "noise"])
def test_memory_does_not_grow(
    tmp_path: Path, name: str, precision: str, peak: Callable[[], int]
) -> None:
    job = job_of(tmp_path, name, precision)
    gpu_rows = GpuRows(copy_of_model(job), job, range(SHARDS), GPU)
    rows = random_rows(512, job.data)
    batches = {shard: shard_of(rows, SHARDS, shard).to(GPU) for shard in range(SHARDS)}
    for step in range(10):
        gpu_rows.shard_rows(0, step, batches)
    before = peak()
    for step in range(1000):
        gpu_rows.shard_rows(0, step, batches)
    torch.cuda.synchronize()
    assert peak() == before
