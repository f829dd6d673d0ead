"""The gradient of a step: one row of numbers per shard, summed in shard order.

One thread with one intra-op thread computes a shard's gradient, so its bits do not depend on how
many shards are computed at the same time. B rows of a batch, H height, W width, N parameters, L
shards of this worker.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.config import TrainJob
from workers.models.augment import augment
from workers.models.classify import classify, to_unit
from workers.models.noise import Noise
from workers.models.recurrent import SequenceClassifier
from workers.seeds import Purpose, seed_of
from workers.shards.rows import Rows
from workers.worker import Worker

MICRO_BATCH_ROWS = 128
"""Rows of one backward pass. This number decides the bits of a job's result. Of 64 to 1,024 rows,
128 was the fastest per thread on CPUs, because weights and activations stay in the L2 cache."""

_NUM_SUMS = 5  # at the end of each gradient row: loss sum, correct rows, rows, two control flags


@dataclass(frozen=True)
class ControlFlags:
    """What worker 0 asks all workers to do after a step. The flags travel with the gradients."""

    stop: bool = False
    """End the job after this step."""
    check_notice: bool = False
    """Ask Ray whether a worker's machine is about to be taken away."""


@dataclass(frozen=True)
class Step:
    """The outcome of one step, summed over all shards."""

    gradient_N: Tensor
    """The mean gradient over the rows of the step."""
    loss_sum: float
    num_correct: int
    num_rows: int
    flags: ControlFlags
    exchange_s: float
    """Seconds that the exchange with the other workers took."""


@dataclass(frozen=True)
class _Piece:
    """Up to MICRO_BATCH_ROWS rows of one shard, with the generator of their random numbers."""

    rows: Rows
    generator: torch.Generator


class ShardThreads:
    """Threads that run a function over shards, `num_threads` of them at once."""

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
        """Return the results of the function, in the order of `shards`."""
        return list(self._pool.map(function, shards) if self._pool else map(function, shards))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


class Gradients:
    """The gradients of one job on one worker: their computation and their exchange."""

    def __init__(
        self, model: SequenceClassifier, job: TrainJob, worker: Worker, threads: ShardThreads
    ) -> None:
        self._model, self._job, self._worker, self._threads = model, job, worker, threads
        self._parameters: list[nn.Parameter] = [p for p in model.parameters() if p.requires_grad]

    def step(self, epoch: int, step: int, batches: dict[int, Rows], flags: ControlFlags) -> Step:
        """Compute the gradient of a step and exchange it with all other workers.

        Args:
            batches: this step's rows of each hosted shard.
            flags: what this worker asks for. The returned flags say what any worker asks for.
        """
        pieces = {shard: self._pieces(epoch, step, shard, rows) for shard, rows in batches.items()}
        if self._job.training.gradients == "fused":
            rows = [self._fused_row(pieces)]
        else:
            rows = self._threads.map(lambda shard: self._shard_row(pieces[shard]), list(pieces))
        rows[0][-2:] = torch.tensor([float(flags.stop), float(flags.check_notice)])
        if self._worker.device.type == "cuda":
            torch.cuda.synchronize()  # or else `exchange_s` would contain the computation
        exchange_started = time.perf_counter()
        if self._job.training.gradients == "fused":
            total = self._worker.all_reduce(rows[0])
        else:
            total = self._worker.ordered_sum(torch.stack(rows))
        loss_sum, num_correct, num_rows, num_stop, num_check = total[-_NUM_SUMS:].tolist()
        return Step(
            gradient_N=total[:-_NUM_SUMS] / num_rows,
            loss_sum=loss_sum,
            num_correct=int(num_correct),
            num_rows=int(num_rows),
            flags=ControlFlags(stop=num_stop > 0, check_notice=num_check > 0),
            exchange_s=time.perf_counter() - exchange_started,
        )

    def assign(self, gradient_N: Tensor) -> None:
        """Give each parameter its part of the flat gradient, for the optimizer."""
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
        """Return the gradient row of one shard: zeros if the shard has no rows left."""
        total: Tensor | None = None
        for piece in pieces:
            row = self._row([piece])
            total = row if total is None else total.add_(row)
        return self._zero_row() if total is None else total

    def _fused_row(self, pieces: dict[int, list[_Piece]]) -> Tensor:
        joined = [piece for of_shard in pieces.values() for piece in of_shard]
        if not joined:
            return self._zero_row()
        torch.set_num_threads(self._job.cpus_per_worker)
        row = self._row(joined)
        torch.set_num_threads(1)
        return row

    def _zero_row(self) -> Tensor:
        size = sum(parameter.numel() for parameter in self._parameters) + _NUM_SUMS
        return torch.zeros(size, device=self._worker.device)

    def _row(self, pieces: list[_Piece]) -> Tensor:
        """Return the summed gradient of the pieces, with their `_NUM_SUMS` sums at its end."""
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
