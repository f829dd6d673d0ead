"""A tiny synthetic job, and W workers that run it as threads of this process."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from workers.checkpoints.expected import Expected
from workers.config import (
    SPLITS,
    AugmentConfig,
    CheckpointConfig,
    DataShape,
    LogConfig,
    ModelConfig,
    TrainingConfig,
    TrainJob,
)
from workers.data.rows import Rows, ShardData
from workers.models.recurrent import build_model
from workers.records.run_folder import StopRequest
from workers.shards.order import hosted_shards, steps_per_epoch
from workers.shards.rows_source import StoredShard
from workers.shards.tree import nodes_within, tree_sum
from workers.worker import Notice, SingleProcessWorker, add_in_order

T = TypeVar("T")
# Every value that matters is given here, because the defaults may change.
TINY_TRAINING: dict[str, Any] = {
    "epochs": 2,
    "global_batch_size": 12,
    "optimizer": {"name": "adamw", "lr": 0.012, "weight_decay": 0.01},
    "schedule": "one-cycle",
    "gradient_clip": 1.0,
    "precision": "fp32",
}


def tiny_shape(**changes: Any) -> DataShape:
    """Return 26 training rows over 4 shards (7, 7, 6, 6), of 5 by 6 pixels in 3 classes."""
    values: dict[str, Any] = {
        "name": "tiny",
        "fingerprint": "f" * 64,
        "num_shards": 4,
        "num_classes": 3,
        "height": 5,
        "width": 6,
        "train_rows": 26,
        "validation_rows": 9,
        "test_rows": 11,
        "pixel_mean": 0.25,
        "pixel_std": 0.5,
    }
    return DataShape(**{**values, **changes})


def tiny_job(
    folder: Path,
    *,
    data: DataShape | None = None,
    model: dict[str, Any] | None = None,
    augment: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    checkpoint: dict[str, Any] | None = None,
    cpus: int = 1,
    fingerprint: str = "a" * 64,
    window: int | None = None,
    is_streamed: bool = False,
    mixed_hardware: Literal["error", "allow"] = "error",
) -> TrainJob:
    """Return a job with 3 steps per epoch, whose run folder is `folder`, which is created."""
    folder.mkdir(parents=True, exist_ok=True)
    return TrainJob(
        run_id=folder.name,
        run_uri=str(folder),
        fingerprint=fingerprint,
        data=data or tiny_shape(),
        model=ModelConfig(**{"hidden_size": 4, **(model or {})}),
        augment=AugmentConfig(**(augment or {})),
        training=TrainingConfig(**{**TINY_TRAINING, **(training or {})}),
        checkpoint=CheckpointConfig(**(checkpoint or {})),
        log=LogConfig(),
        cpus_per_worker=cpus,
        mixed_hardware=mixed_hardware,
        window=window,
        is_streamed=is_streamed,
    )


def expected_of(job: TrainJob) -> Expected:
    """Return what the checkpoints of a job hold."""
    per_epoch = steps_per_epoch(job.data.train_rows, job.data.num_shards, job.rows_per_shard_step)
    return Expected.of(
        job,
        build_model(job.model, job.data, seed=0),
        per_epoch,
        job.training.steps or job.training.epochs * per_epoch,
    )


def tiny_split(shape: DataShape, split: str) -> Rows:
    """Return rows whose class can be learned: the pixel column with its number is bright."""
    generator = torch.Generator().manual_seed(SPLITS.index(split))
    number = shape.num_rows(split)
    labels = torch.randint(shape.target.num_outputs, (number,), generator=generator)
    size = (number, shape.input.height, shape.input.width)
    images = torch.randint(0, 120, size, generator=generator)
    for row, label in enumerate(labels.tolist()):
        images[row, :, label] += 130
    return Rows(images.to(torch.uint8), labels)


def shard_of(rows: Rows, num_shards: int, shard: int) -> Rows:
    """Return the rows of one shard. A split is dealt out to its shards like cards."""
    return Rows(rows.inputs[shard::num_shards], rows.targets_N[shard::num_shards])


def tiny_loader(shape: DataShape) -> Callable[[int], ShardData]:
    """Return a function that loads a shard of the tiny data set."""
    whole = {split: tiny_split(shape, split) for split in SPLITS}

    def load(shard: int) -> ShardData:
        return {split: shard_of(rows, shape.num_shards, shard) for split, rows in whole.items()}

    return load


def single(job: TrainJob, stop_after: int = 0, code: int = 5) -> SingleProcessWorker:
    """Return a worker that runs the whole job, and receives a stop request in step `stop_after`."""
    num_calls = 0

    def stop() -> StopRequest | None:
        nonlocal num_calls
        num_calls += 1
        return StopRequest("the test wants it", code) if num_calls == stop_after else None

    load = tiny_loader(job.data)
    return SingleProcessWorker(
        job.data.num_shards, load, stop, open_shard=lambda shard: ShardInMemory(load(shard))
    )


class ShardInMemory:
    """A fake of `StoredShard`, which keeps account of what is read."""

    def __init__(self, data: ShardData) -> None:
        self._data = data
        self.spans: list[range] = []

    def load(self) -> ShardData:
        return self._data

    def read(self, split: str, spans: Sequence[range]) -> Rows:
        self.spans.extend(spans)
        numbers = [torch.arange(span.start, span.stop) for span in spans]
        return self._data[split].take(torch.cat(numbers))


class _Exchange:
    """What the threads of one job share: a slot for the tensor of each rank, and a barrier."""

    def __init__(self, num_workers: int) -> None:
        self.barrier = threading.Barrier(num_workers)
        self.slots: list[Tensor] = [torch.empty(0)] * num_workers

    def all_tensors(self, rank: int, own: Tensor) -> list[Tensor]:
        """Give the tensor of one rank to all, and return those of all ranks."""
        self.slots[rank] = own
        self.barrier.wait(300)
        gathered = list(self.slots)
        self.barrier.wait(300)
        return gathered


class RankWorker:
    """A fake of the Worker protocol: one of W ranks, each in a thread."""

    def __init__(
        self,
        job: TrainJob,
        rank: int,
        num_workers: int,
        exchange: _Exchange,
        load: Callable[[int], ShardData],
    ) -> None:
        self.rank, self.world_size = rank, num_workers
        self.device = torch.device("cpu")
        self.shards = hosted_shards(job.data.num_shards, num_workers, rank)
        self.load_shard = load
        self._num_shards, self._exchange = job.data.num_shards, exchange
        self.open_shard: Callable[[int], StoredShard] = lambda shard: ShardInMemory(load(shard))

    def tree_sum(self, rows_KN: Tensor) -> Tensor:
        num_shards, of_ranks = self._num_shards, self._exchange.all_tensors(self.rank, rows_KN)
        hosted = [hosted_shards(num_shards, len(of_ranks), rank) for rank in range(len(of_ranks))]
        nodes = [node for shards in hosted for node in nodes_within(num_shards, shards)]
        rows = torch.cat(of_ranks)  # a copy, as the other ranks read these rows, too
        return tree_sum(range(num_shards), dict(zip(nodes, rows, strict=True)))

    def all_reduce(self, row_N: Tensor) -> Tensor:
        return add_in_order(torch.stack(self._exchange.all_tensors(self.rank, row_N)))

    def gather(self, rows_LN: Tensor) -> Tensor:
        return torch.cat(self._exchange.all_tensors(self.rank, rows_LN))

    def stop_requested(self) -> StopRequest | None:
        return None

    def notice_due(self) -> bool:
        return False

    def notice(self) -> Notice | None:
        return None


def on_workers(
    job: TrainJob,
    num_workers: int,
    act: Callable[[RankWorker], T],
    load: Callable[[int], ShardData] | None = None,
) -> list[T]:
    """Run `act` on W workers at once, and return its results in rank order.

    `load`: what loads a shard; by default that of the tiny data set.
    """
    exchange = _Exchange(num_workers)
    load_shard = load or tiny_loader(job.data)

    def run(rank: int) -> T:
        torch.set_num_threads(1)
        try:
            return act(RankWorker(job, rank, num_workers, exchange, load_shard))
        except BaseException:
            exchange.barrier.abort()
            raise

    with ThreadPoolExecutor(num_workers) as pool:
        futures = [pool.submit(run, rank) for rank in range(num_workers)]
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in errors:
        if not isinstance(error, threading.BrokenBarrierError):
            raise error
    return [future.result() for future in futures]
