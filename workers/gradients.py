"""The gradient of a step: one row per shard, summed in shard order.

Each shard's gradient is computed by one thread with one intra-op thread, so its bits do not depend
on how many shards run beside it. B rows of a batch, H height, W width, N parameters, L shards of
this worker.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.augment import augment
from workers.config import TrainJob
from workers.model import SequenceClassifier, to_sequences
from workers.noise import Noise
from workers.shard_data import Rows
from workers.shards import Purpose, seed_of
from workers.worker import Worker

MICRO_BATCH_ROWS = 128
"""Rows of one backward pass. Part of the definition of a job's result: of 64 to 1,024 rows, 128 was
the fastest per thread on CPUs (weights and activations stay in L2)."""

_NUM_SUMS = 5  # behind each gradient row: loss sum, correct rows, rows, and those of Wish


@dataclass(frozen=True)
class Wish:
    """What worker 0 wants all workers to do after this step; it rides behind the gradients."""

    stop: bool = False
    look: bool = False
    """For a notice that one of them is to be taken away."""


@dataclass(frozen=True)
class Step:
    """One step, summed over all shards."""

    gradient_N: Tensor
    """Mean over the rows of the step."""
    loss_sum: float
    num_correct: int
    num_rows: int
    wish: Wish
    exchange_s: float


@dataclass(frozen=True)
class _Piece:
    """Up to MICRO_BATCH_ROWS rows of one shard, with the randomness that belongs to them."""

    rows: Rows
    generator: torch.Generator


class ShardThreads:
    """Runs a function over shards, as many at once as the worker has CPUs."""

    def __init__(self, num_threads: int) -> None:
        torch.set_num_threads(1)
        self._pool = (
            ThreadPoolExecutor(
                num_threads, "shard", initializer=torch.set_num_threads, initargs=(1,)
            )
            if num_threads > 1
            else None
        )

    def map(self, function: Callable[[int], Tensor], shards: Sequence[int]) -> list[Tensor]:
        """Results in the order of `shards`."""
        return list(self._pool.map(function, shards) if self._pool else map(function, shards))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


class Gradients:
    """Computes and exchanges the gradients of one job on one worker."""

    def __init__(
        self, model: SequenceClassifier, job: TrainJob, worker: Worker, threads: ShardThreads
    ) -> None:
        self._model, self._job, self._worker, self._threads = model, job, worker, threads
        self._parameters: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad]

    def step(self, epoch: int, step: int, batches: dict[int, Rows], wish: Wish) -> Step:
        """`batches`: this step's rows of each hosted shard. `wish`: this worker's."""
        pieces = {shard: self._pieces(epoch, step, shard, rows) for shard, rows in batches.items()}
        if self._job.training.gradients == "fused":
            rows = [self._fused_row(pieces)]
        else:
            rows = self._threads.map(lambda shard: self._shard_row(pieces[shard]), list(pieces))
        rows[0][-2:] = torch.tensor([float(wish.stop), float(wish.look)])
        if self._worker.device.type == "cuda":
            torch.cuda.synchronize()  # else the exchange would seem to take the computing's time
        computed = time.perf_counter()
        if self._job.training.gradients == "fused":
            total = self._worker.all_reduce(rows[0])
        else:
            total = self._worker.ordered_sum(torch.stack(rows))
        loss_sum, num_correct, num_rows, num_stop, num_look = total[-_NUM_SUMS:].tolist()
        return Step(
            gradient_N=total[:-_NUM_SUMS] / num_rows,
            loss_sum=loss_sum,
            num_correct=int(num_correct),
            num_rows=int(num_rows),
            wish=Wish(stop=num_stop > 0, look=num_look > 0),
            exchange_s=time.perf_counter() - computed,
        )

    def assign(self, gradient_N: Tensor) -> None:
        """Hands the flat gradient to the parameters, for the optimizer."""
        sizes = [parameter.numel() for parameter in self._parameters]
        for parameter, part in zip(self._parameters, torch.split(gradient_N, sizes), strict=True):
            parameter.grad = part.view_as(parameter)

    def _pieces(self, epoch: int, step: int, shard: int, rows: Rows) -> list[_Piece]:
        parts = zip(
            torch.split(rows.images_NHW, MICRO_BATCH_ROWS),
            torch.split(rows.labels_N, MICRO_BATCH_ROWS),
            strict=True,
        )
        seed = self._job.training.seed
        device = self._worker.device
        return [
            _Piece(
                Rows(images, labels),
                torch.Generator(device).manual_seed(
                    seed_of(seed, Purpose.STEP, epoch, step, shard, number)
                ),
            )
            for number, (images, labels) in enumerate(parts)
            if len(labels)
        ]

    def _shard_row(self, pieces: list[_Piece]) -> Tensor:
        """Gradient sum and the sums behind it of one shard; zeros where it has no rows left."""
        total: Tensor | None = None
        for piece in pieces:
            row = self._row([piece])
            total = row if total is None else total.add_(row)
        return self._no_rows() if total is None else total

    def _fused_row(self, pieces: dict[int, list[_Piece]]) -> Tensor:
        joined = [piece for of_shard in pieces.values() for piece in of_shard]
        if not joined:
            return self._no_rows()
        torch.set_num_threads(self._job.cpus_per_worker)
        row = self._row(joined)
        torch.set_num_threads(1)
        return row

    def _no_rows(self) -> Tensor:
        size = sum(parameter.numel() for parameter in self._parameters) + _NUM_SUMS
        return torch.zeros(size, device=self._worker.device)

    def _row(self, pieces: list[_Piece]) -> Tensor:
        images_BHW = torch.cat([piece.rows.images_NHW for piece in pieces])
        labels_B = torch.cat([piece.rows.labels_N for piece in pieces])
        noise = Noise([(piece.generator, len(piece.rows)) for piece in pieces])
        inputs_BHW = to_unit(images_BHW)
        if self._job.augment.is_on:
            inputs_BHW = augment(inputs_BHW, self._job.augment, noise)
        logits_BC = classify(self._model, inputs_BHW, self._job, noise)
        loss = F.cross_entropy(logits_BC, labels_B, reduction="sum")
        gradients = torch.autograd.grad(loss, self._parameters)
        correct = (logits_BC.detach().argmax(dim=1) == labels_B).sum()
        sums = torch.stack(
            [
                loss.detach(),
                correct,
                torch.full_like(correct, len(labels_B)),
                torch.zeros_like(correct),
                torch.zeros_like(correct),
            ]
        )
        return torch.cat([*(gradient.reshape(-1) for gradient in gradients), sums])


def to_unit(images_BHW: Tensor) -> Tensor:
    """uint8 pixels to float32 within [0, 1]."""
    return images_BHW.to(torch.float32).div_(255.0)


def classify(
    model: SequenceClassifier, images_BHW: Tensor, job: TrainJob, noise: Noise | None = None
) -> Tensor:
    """Logits (B, C) in float32 of images within [0, 1], computed in the job's precision."""
    data = job.data
    inputs_BHW = (images_BHW - data.pixel_mean) / data.pixel_std
    with torch.autocast(
        images_BHW.device.type,
        dtype=torch.bfloat16,
        enabled=job.training.precision == "bf16",
        cache_enabled=False,  # the cache is shared by threads
    ):
        logits_BC: Tensor = model(to_sequences(inputs_BHW, job.model.read), noise)
    return logits_BC.float()
