"""The promise for sequences of any lengths, tokens and numbers: the job decides the result."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unit.simulated import on_workers, tiny_job
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
from workers.gpu.shard_rows import GpuRows
from workers.gpu.shard_rows import block_rows as gpu_block_rows
from workers.pieces import MICRO_BATCH_ROWS, piece_rows
from workers.records.record_kinds import is_record
from workers.records.train_result import TrainResult
from workers.shards.held_rows import HeldRows
from workers.train import train
from workers.worker import SingleProcessWorker, Worker

JOBS: dict[str, tuple[DataShape, dict[str, Any]]] = {
    "vectors": (shape_of(VECTORS, CLASSES), {"bidirectional": True, "pooling": "mean"}),
    "equal": (shape_of(EQUAL_VECTORS, CLASSES), {"cell": "gru"}),
    "numbers": (shape_of(VECTORS, NUMBER), {"dropout": 0.2, "num_layers": 2}),
    "tokens": (shape_of(TOKENS, CLASSES), {"embedding_size": 4, "pooling": "max"}),
}
EVERY_KIND = pytest.mark.parametrize("kind", list(JOBS))


def job_of(folder: Path, kind: str, **training: Any) -> TrainJob:
    data, model = JOBS[kind]
    metric = "validation_loss" if kind == "numbers" else "validation_accuracy"
    return tiny_job(folder, data=data, model=model, training={"metric": metric, **training})


def alone(job: TrainJob) -> SingleProcessWorker:
    return SingleProcessWorker(job.data.num_shards, loader_of(job.data), lambda: None)


def on_many(job: TrainJob, num_workers: int) -> list[TrainResult]:
    return on_workers(job, num_workers, lambda worker: train(job, worker), loader_of(job.data))


@EVERY_KIND
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_and_metrics_have_the_same_bits_on_any_number_of_workers(
    tmp_path: Path, kind: str, precision: str
) -> None:
    job = job_of(tmp_path / "alone", kind, precision=precision)
    wanted = train(job, alone(job))
    for workers in (2, 3, 4):
        job = job_of(tmp_path / str(workers), kind, precision=precision)
        for result in on_many(job, workers):
            assert result.weights_sha256 == wanted.weights_sha256
            assert result.test == wanted.test


@EVERY_KIND
def test_a_run_goes_on_to_the_same_weights(tmp_path: Path, kind: str) -> None:
    whole = job_of(tmp_path / "whole", kind)
    wanted = train(whole, alone(whole))
    job = job_of(tmp_path / "cut", kind)
    cut = job.model_copy(update={"stop_after_steps": 4})
    assert train(cut, alone(job)).stopped
    assert {r.weights_sha256 for r in on_many(job, 3)} == {wanted.weights_sha256}


@EVERY_KIND
def test_every_record_of_a_run_is_one_that_its_readers_know(tmp_path: Path, kind: str) -> None:
    job = job_of(tmp_path / "run", kind)
    result = train(job, alone(job))
    score = "mae" if kind == "numbers" else "accuracy"
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["kind"] for record in records} == {"start", "step", "epoch", "test"}
    assert all(is_record(record) for record in records)
    assert all(score in record for record in records if record["kind"] == "step")
    assert result.test[score] >= 0
    assert all(epoch["rows_seen"] == 26 and epoch["rows_dropped"] == 0 for epoch in result.epochs)


@EVERY_KIND
def test_a_gpus_calls_of_one_shape_give_the_gradient_of_the_pieces(
    tmp_path: Path, kind: str
) -> None:
    from tests.unit.workers.gpu.test_shard_rows import gpu_rows
    from workers.models.recurrent import build_model
    from workers.shard_threads import ShardThreads, ThreadedRows

    job = job_of(tmp_path, kind, optimizer={"name": "sgd"})
    job = job.model_copy(update={"model": job.model.model_copy(update={"dropout": 0.0})})
    rows = HeldRows(job, range(4), loader_of(job.data), torch.device("cpu"))
    model = build_model(job.model, job.data, job.training.seed)
    threaded = ThreadedRows(model, job, range(4), ShardThreads(1))
    device: GpuRows = gpu_rows(job)
    for step in range(3):  # the last one has fewer rows
        batches = rows.epoch(0, 0).step(step)
        wanted = threaded.compute(0, step, batches)
        torch.testing.assert_close(device.compute(0, step, batches), wanted)


def test_the_rows_of_a_step_begin_with_the_shortest_and_stay_the_same_rows(tmp_path: Path) -> None:
    job = job_of(tmp_path, "vectors")
    worker: Worker = alone(job)
    rows = HeldRows(job, worker.shards, worker.load_shard, worker.device).epoch(0, 0)
    seen = 0
    for step in range(3):
        for batch in rows.step(step).values():
            assert batch.lengths_N is not None
            assert batch.lengths_N.tolist() == sorted(batch.lengths_N.tolist())
            seen += len(batch)
    assert seen == 26


def test_long_sequences_are_computed_in_smaller_pieces(tmp_path: Path) -> None:
    long = VECTORS.model_copy(update={"max_length": 2**20})
    job = tiny_job(tmp_path, data=shape_of(long, CLASSES), model={"hidden_size": 64})
    assert piece_rows(job) == 4
    assert gpu_block_rows(job) == 1
    assert piece_rows(job_of(tmp_path, "vectors")) == MICRO_BATCH_ROWS
