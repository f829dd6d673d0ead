"""Gradient rows on CPUs: each shard by one thread with one intra-op thread.

Therefore the bits of a shard's row do not depend on how many shards are computed at the same time.
L shards of this worker, N parameters.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.rows import Rows, joined
from workers.models.noise import Noise
from workers.pieces import piece_row, piece_rows, row_size, rules_of
from workers.seeds import Purpose, seed_of


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


@dataclass(frozen=True)
class _Piece:
    """Some rows of one shard, with the generator of their random numbers."""

    rows: Rows
    generator: torch.Generator


class ThreadedRows:
    """Computes the gradient rows of the hosted shards on the CPUs of this worker."""

    def __init__(self, model: nn.Module, job: TrainJob, threads: ShardThreads) -> None:
        self._model, self._job, self._threads = model, job, threads
        self._rules = rules_of(job)

    def compute(self, epoch: int, step: int, batches: dict[int, Rows]) -> Tensor:
        """Return the gradient rows (L, N + NUM_SUMS) of a step's rows, or one row if fused."""
        pieces = {shard: self._pieces(epoch, step, shard, rows) for shard, rows in batches.items()}
        if self._job.training.gradients == "fused":
            return self._fused_row(pieces).unsqueeze(0)
        rows = self._threads.map(lambda shard: self._shard_row(pieces[shard]), list(pieces))
        return torch.stack(rows)

    def _pieces(self, epoch: int, step: int, shard: int, rows: Rows) -> list[_Piece]:
        seed = self._job.training.seed
        return [
            _Piece(
                part,
                torch.Generator().manual_seed(
                    seed_of(seed, Purpose.STEP, epoch, step, shard, number)
                ),
            )
            for number, part in enumerate(rows.pieces(piece_rows(self._job)))
        ]

    def _shard_row(self, pieces: list[_Piece]) -> Tensor:
        """Return the gradient row of one shard: zeros if the shard has no rows left."""
        total: Tensor | None = None
        for piece in pieces:
            row = self._row([piece])
            total = row if total is None else total.add_(row)
        return torch.zeros(row_size(self._model)) if total is None else total

    def _fused_row(self, pieces: dict[int, list[_Piece]]) -> Tensor:
        joined = [piece for of_shard in pieces.values() for piece in of_shard]
        if not joined:
            return torch.zeros(row_size(self._model))
        torch.set_num_threads(self._job.cpus_per_worker)
        row = self._row(joined)
        torch.set_num_threads(1)
        return row

    def _row(self, pieces: list[_Piece]) -> Tensor:
        batch = joined([piece.rows for piece in pieces]).batch()
        noise = Noise([(piece.generator, len(piece.rows)) for piece in pieces])
        row_N = torch.empty(row_size(self._model))
        piece_row(self._model, self._job, self._rules, batch, noise, row_N)
        return row_N
