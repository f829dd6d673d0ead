"""The seam between training and what runs it: one worker is one training process.

L shards of this worker, S shards of the job, N numbers per row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from workers.run_folder import StopRequest
from workers.shard_data import ShardData


@dataclass(frozen=True)
class Notice:
    """A machine that workers run on will be taken away, a spot instance for one."""

    ranks: list[int]
    deadline: float
    """Unix seconds."""


class Worker(Protocol):
    """What the training loop knows of the process that it runs in.

    Collective methods (`ordered_sum`, `all_reduce`, `gather`, `notice`) must be called by every
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
        """The shards that this worker hosts; those of rank r+1 follow on those of rank r."""
        ...

    def load_shard(self, shard: int) -> ShardData:
        """All rows of a hosted shard. Called once for each."""
        ...

    def ordered_sum(self, rows_LN: Tensor) -> Tensor:
        """One row per hosted shard to the sum (N) over all shards, added in shard order."""
        ...

    def all_reduce(self, row_N: Tensor) -> Tensor:
        """One row per worker to their sum (N), in no promised order."""
        ...

    def gather(self, rows_LN: Tensor) -> Tensor:
        """One row per hosted shard to all rows (S, N) in shard order."""
        ...

    def stop_requested(self) -> StopRequest | None:
        """Asked of rank 0 after each step; the answer reaches the others with the gradients."""
        ...

    def notice_due(self) -> bool:
        """Asked of rank 0 before each step: whether it is time to call `notice`."""
        ...

    def notice(self) -> "Notice | None":
        """Collective: that a machine of the job is about to be taken away, if it is."""
        ...


def add_in_order(rows_SN: Tensor) -> Tensor:
    """The sum over the first axis, strictly from the first row to the last.

    `Tensor.sum` may add in pairs or lanes, which changes the bits with shape and CPU.
    """
    total = rows_SN[0].clone()
    for row in rows_SN[1:]:
        total += row
    return total


class SingleProcessWorker:
    """The whole job in this process; needs no Ray."""

    rank = 0
    world_size = 1

    def __init__(
        self,
        num_shards: int,
        load_shard: Callable[[int], ShardData],
        stop_requested: Callable[[], StopRequest | None] = lambda: None,
        device: torch.device | None = None,
    ) -> None:
        self.shards = range(num_shards)
        self.device = device or torch.device("cpu")
        self._load_shard = load_shard
        self._stop_requested = stop_requested

    def load_shard(self, shard: int) -> ShardData:
        return self._load_shard(shard)

    def ordered_sum(self, rows_LN: Tensor) -> Tensor:
        return add_in_order(rows_LN)

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
