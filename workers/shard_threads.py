"""Gradient rows on CPUs: each shard by one thread with one intra-op thread.

Therefore the bits of a shard's row do not depend on how many shards are computed at the same time.
A thread adds up whole nodes of the tree of shards, so that it holds few rows at once. K nodes that
this worker has whole, N parameters.
"""

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.rows import Rows, joined
from workers.models.cpu_kernels import compute_alone
from workers.models.noise import Noise
from workers.pieces import piece_row, piece_rows, row_size, rules_of
from workers.seeds import Purpose, seed_of
from workers.shards.tree import children, nodes_within, stacked, tree_sum

T = TypeVar("T")


class ShardThreads:
    """Threads that run a function over shards or nodes of shards, `num_threads` of them at once."""

    def __init__(self, num_threads: int) -> None:
        compute_alone()
        self.num_threads = num_threads
        self._pool = (
            ThreadPoolExecutor(num_threads, "shard", initializer=compute_alone)
            if num_threads > 1
            else None
        )

    def map(self, function: Callable[[T], Tensor], items: Sequence[T]) -> list[Tensor]:
        """Return the results of the function, in the order of `items`."""
        return list(self._pool.map(function, items) if self._pool else map(function, items))

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


@dataclass(frozen=True)
class _Piece:
    """Some rows of one shard, with the seed of their random numbers."""

    rows: Rows
    seed: tuple[int, Purpose, int, int, int, int]
    """The arguments of `seed_of`: seed, purpose, epoch, step, shard, piece."""


class _PieceNoise:
    """The random numbers of some pieces. Their generators are made when the first numbers are
    drawn, because most jobs draw none."""

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self._pieces = pieces

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 numbers in [0, 1) of the shape (rows of all pieces, *shape)."""
        return self._noise.uniform(*shape)

    @cached_property
    def _noise(self) -> Noise:
        return Noise(
            [
                (torch.Generator().manual_seed(seed_of(*piece.seed)), len(piece.rows))
                for piece in self._pieces
            ]
        )


class ThreadedRows:
    """Computes gradient rows of the hosted shards on the CPUs of this worker."""

    def __init__(
        self, model: nn.Module, job: TrainJob, shards: range, threads: ShardThreads
    ) -> None:
        self._model, self._job, self._threads = model, job, threads
        self._rules = rules_of(job)
        self._roots = nodes_within(job.data.num_shards, shards)
        # Each thread has whole nodes to add up, and all threads have about as many shards.
        most = -(-len(shards) // threads.num_threads)
        self._tasks = nodes_within(job.data.num_shards, shards, most)

    def compute(self, epoch: int, step: int, batches: dict[int, Rows]) -> Tensor:
        """Return the rows (K, N + NUM_SUMS) of the nodes that this worker has whole; see
        `ShardRows`."""
        if self._job.training.gradients == "fused":
            pieces = (self._pieces(epoch, step, shard, rows) for shard, rows in batches.items())
            return self._fused_row(list(itertools.chain(*pieces))).unsqueeze(0)

        def row_of(node: range) -> Tensor:
            if len(node) == 1:
                shard = node.start
                return self._shard_row(self._pieces(epoch, step, shard, batches[shard]))
            first, second = children(node)
            return row_of(first).add_(row_of(second))

        rows = dict(zip(self._tasks, self._threads.map(row_of, self._tasks), strict=True))
        return stacked([tree_sum(root, rows) for root in self._roots])

    def _pieces(self, epoch: int, step: int, shard: int, rows: Rows) -> list[_Piece]:
        seed = self._job.training.seed
        return [
            _Piece(part, (seed, Purpose.STEP, epoch, step, shard, number))
            for number, part in enumerate(rows.pieces(piece_rows(self._job)))
        ]

    def _shard_row(self, pieces: list[_Piece]) -> Tensor:
        """Return the gradient row of one shard: zeros if the shard has no rows left."""
        total: Tensor | None = None
        for piece in pieces:
            row = self._row([piece])
            total = row if total is None else total.add_(row)
        return torch.zeros(row_size(self._model)) if total is None else total

    def _fused_row(self, pieces: list[_Piece]) -> Tensor:
        if not pieces:
            return torch.zeros(row_size(self._model))
        torch.set_num_threads(self._job.cpus_per_worker)
        row = self._row(pieces)
        torch.set_num_threads(1)
        return row

    def _row(self, pieces: list[_Piece]) -> Tensor:
        batch = joined([piece.rows for piece in pieces]).batch()
        row_N = torch.empty(row_size(self._model))
        piece_row(self._model, self._job, self._rules, batch, _PieceNoise(pieces), row_N)
        return row_N
