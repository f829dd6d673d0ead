"""The interface between training and what runs it: one worker is one training process.

L shards of this worker, S shards of the job, K nodes of the tree of shards that this worker has
whole, N numbers per row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from workers.data.rows import ShardData
from workers.records.run_folder import StopRequest
from workers.shards.rows_source import StoredShard


@dataclass(frozen=True)
class Notice:
    """A warning that machines of the job will be taken away, for example spot instances."""

    ranks: list[int]
    """The ranks of the workers that run on these machines."""
    deadline: float
    """When the machines are taken away, in Unix seconds."""


class Worker(Protocol):
    """What the training loop knows of the process in which it runs.

    Collective methods (`tree_sum`, `all_reduce`, `gather`, `notice`) must be called by every
    worker of the job, equally often and in the same order.
    """

    @property
    def rank(self) -> int: ...

    @property
    def world_size(self) -> int: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def shards(self) -> range:
        """The shards that this worker hosts. The shards of rank r+1 follow those of rank r."""
        ...

    def load_shard(self, shard: int) -> ShardData:
        """Return all rows of a hosted shard. The loop calls this once per shard."""
        ...

    def open_shard(self, shard: int) -> StoredShard:
        """Return a hosted shard where it is stored. The loop calls this once per shard, and only if
        the rows are streamed."""
        ...

    def tree_sum(self, rows_KN: Tensor) -> Tensor:
        """Take one row for each of `nodes_within(S, shards)`, and return the sum (N) over all
        shards, added as the tree says. The rows may be overwritten."""
        ...

    def all_reduce(self, row_N: Tensor) -> Tensor:
        """Take one row per worker, and return the sum (N) over all workers, added in any order."""
        ...

    def gather(self, rows_LN: Tensor) -> Tensor:
        """Take one row per hosted shard, and return all rows (S, N) in shard order."""
        ...

    def stop_requested(self) -> StopRequest | None:
        """Return the stop request, if there is one.

        The loop calls this on rank 0 once per step. The answer reaches the other ranks with the
        gradients.
        """
        ...

    def notice_due(self) -> bool:
        """Return whether it is time to call `notice`. The loop asks rank 0 before each step."""
        ...

    def notice(self) -> "Notice | None":
        """Return the warning that machines will be taken away, if there is one. Collective."""
        ...


def add_in_order(rows_SN: Tensor) -> Tensor:
    """Return the sum over the first axis, added strictly from the first row to the last.

    `Tensor.sum` may add in pairs or in SIMD lanes, so its bits depend on the shape and the CPU.
    """
    total = rows_SN[0].clone()
    for row in rows_SN[1:]:
        total += row
    return total


class SingleProcessWorker:
    """A worker that runs the whole job in this process, without Ray."""

    rank = 0
    world_size = 1

    def __init__(
        self,
        num_shards: int,
        load_shard: Callable[[int], ShardData],
        stop_requested: Callable[[], StopRequest | None] = lambda: None,
        device: torch.device | None = None,
        open_shard: Callable[[int], StoredShard] | None = None,
    ) -> None:
        """`open_shard`: returns a shard where it is stored; needed only to stream."""
        self.shards = range(num_shards)
        self.device = device or torch.device("cpu")
        self._load_shard, self._open_shard = load_shard, open_shard
        self._stop_requested = stop_requested

    def load_shard(self, shard: int) -> ShardData:
        return self._load_shard(shard)

    def open_shard(self, shard: int) -> StoredShard:
        assert self._open_shard is not None, "the rows of this worker are in memory"
        return self._open_shard(shard)

    def tree_sum(self, rows_KN: Tensor) -> Tensor:
        return rows_KN[0]  # this worker has all shards, and so the root of the tree

    def all_reduce(self, row_N: Tensor) -> Tensor:
        return row_N

    def gather(self, rows_LN: Tensor) -> Tensor:
        return rows_LN

    def stop_requested(self) -> StopRequest | None:
        return self._stop_requested()

    def notice_due(self) -> bool:
        return False

    def notice(self) -> Notice | None:
        return None
