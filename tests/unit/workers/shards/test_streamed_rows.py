"""Streamed rows are those of memory: the same steps, the same weights, without reading more."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.simulated import ShardInMemory, on_workers, single, tiny_job, tiny_shape
from tests.unit.workers.data.data_sets import (
    CLASSES,
    EQUAL_VECTORS,
    NUMBER,
    TOKENS,
    VECTORS,
    loader_of,
    shape_of,
)
from workers.config import DataShape, TrainJob
from workers.data.rows import Rows
from workers.errors import DataError
from workers.records.train_result import TrainResult
from workers.shards.held_rows import HeldRows
from workers.shards.streamed_rows import StreamedRows
from workers.train import train

CPU = torch.device("cpu")
SHAPES = {
    "vectors": shape_of(VECTORS, CLASSES),
    "equal vectors": shape_of(EQUAL_VECTORS, NUMBER),
    "tokens": shape_of(TOKENS, CLASSES),
}


def equal(left: dict[int, Rows], right: dict[int, Rows]) -> bool:
    return left.keys() == right.keys() and all(
        len(left[shard].tensors) == len(right[shard].tensors)
        and all(map(torch.equal, left[shard].tensors, right[shard].tensors))
        for shard in left
    )


def job_of(folder: Path, shape: DataShape, window: int, batch: int = 8, seed: int = 0) -> TrainJob:
    model = {"embedding_size": 3} if shape.input == TOKENS else {}
    training = {"global_batch_size": batch, "seed": seed}
    return tiny_job(
        folder, data=shape, model=model, training=training, window=window, is_streamed=True
    )


@settings(deadline=None, max_examples=50)
@given(
    name=st.sampled_from(list(SHAPES)),
    window=st.integers(2, 20),
    batch=st.sampled_from([4, 8]),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 9),
    begin=st.integers(0, 4),
)
def test_each_step_has_the_rows_that_held_rows_have(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    window: int,
    batch: int,
    epoch: int,
    seed: int,
    begin: int,
) -> None:
    shape = SHAPES[name]
    job = job_of(tmp_path_factory.getbasetemp(), shape, window, batch, seed)
    load = loader_of(shape)
    held = HeldRows(job, range(1, 4), load, CPU).epoch(epoch, begin)
    streamed_rows = StreamedRows(job, range(1, 4), lambda s: ShardInMemory(load(s)), CPU)
    streamed = streamed_rows.epoch(epoch, begin)
    for step in range(begin, -(-7 // (batch // 4))):
        assert equal(streamed.step(step), held.step(step)), step
        assert streamed.account.counts() == held.account.counts()
    streamed_rows.close()
    assert all(never == 0 for _, _, never in streamed.account.counts())


def test_an_epoch_is_begun_in_its_middle_without_reading_its_beginning(tmp_path: Path) -> None:
    shape = tiny_shape(train_rows=4096, num_shards=1)
    job = tiny_job(
        tmp_path, data=shape, training={"global_batch_size": 64}, window=256, is_streamed=True
    )
    load = single(job).load_shard
    stored = ShardInMemory(load(0))
    rows = StreamedRows(job, range(1), lambda _: stored, CPU)
    epoch = rows.epoch(0, steps_done=60)
    for step in range(60, 64):
        epoch.step(step)
    rows.close()
    assert sum(map(len, stored.spans)) == 256
    assert epoch.account.counts() == [[4096, 0, 0]]


def test_no_more_than_two_windows_are_read_before_they_are_needed(tmp_path: Path) -> None:
    shape = tiny_shape(train_rows=4096, num_shards=1)
    job = tiny_job(
        tmp_path, data=shape, training={"global_batch_size": 64}, window=256, is_streamed=True
    )
    stored = ShardInMemory(single(job).load_shard(0))
    rows = StreamedRows(job, range(1), lambda _: stored, CPU)
    epoch = rows.epoch(0, 0)
    for step in range(64):
        epoch.step(step)
        used = (step // 4 + 1) * 256
        assert sum(map(len, stored.spans)) <= used + 256
    rows.close()


def trained(job: TrainJob, num_workers: int) -> TrainResult:
    return on_workers(job, num_workers, lambda worker: train(job, worker))[0]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_the_weights_are_those_of_held_rows_for_any_number_of_workers(
    tmp_path: Path, num_workers: int
) -> None:
    changes: dict[str, Any] = {"window": 4, "augment": {"shift_px": 1.0}}
    held = trained(tiny_job(tmp_path / "held", **changes), 1)
    streamed = trained(tiny_job(tmp_path / "s", is_streamed=True, **changes), num_workers)
    assert streamed.weights_sha256 == held.weights_sha256
    assert streamed.test == held.test
    other = trained(tiny_job(tmp_path / "other", window=None), 1)
    assert other.weights_sha256 != held.weights_sha256


@pytest.mark.parametrize("stop_after", range(1, 6))
def test_a_run_that_stops_in_mid_epoch_goes_on_to_the_same_weights(
    tmp_path: Path, stop_after: int
) -> None:
    whole = tiny_job(tmp_path / "whole", window=4, is_streamed=True)
    expected = train(whole, single(whole))
    job = tiny_job(tmp_path / "run", window=4, is_streamed=True)
    assert train(job, single(job, stop_after)).stopped
    assert train(job, single(job)).weights_sha256 == expected.weights_sha256


def test_an_error_of_the_reading_thread_ends_the_training(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, window=4, is_streamed=True)

    class Broken(ShardInMemory):
        def read(self, split: str, spans: Any) -> Rows:
            raise DataError("the shard is damaged", "cut it again")

    rows = StreamedRows(job, range(4), lambda _: Broken({}), CPU)
    epoch = rows.epoch(0, 0)
    for _ in range(2):
        with pytest.raises(DataError, match="damaged"):
            epoch.step(0)
    rows.close()
