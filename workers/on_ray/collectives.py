"""Sums over the workers of a job through torch.distributed, in an order that never changes.

L shards of this worker, K nodes of the tree of shards that it has whole, S shards of the job, W
workers, N numbers per row, M numbers per slice.
"""

import itertools
from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from workers.shards.order import hosted_shards
from workers.shards.tree import nodes_within, tree_sum


class Collectives:
    """The collective methods of `Worker`, for a process of the default process group."""

    def __init__(self, num_shards: int, world_size: int) -> None:
        self._num_shards, self._world_size = num_shards, world_size
        shards = [hosted_shards(num_shards, world_size, rank) for rank in range(world_size)]
        self._hosted = [len(hosted) for hosted in shards]
        self._nodes = [nodes_within(num_shards, hosted) for hosted in shards]

    def tree_sum(self, rows_KN: Tensor) -> Tensor:
        """Return the sum (N) over all S shards, added as the tree of shards says.

        Each worker receives one slice of the numbers from the rows of all workers, adds it up, and
        sends the sum to all. The traffic is at most about N*R/W + N numbers per worker, for R rows
        of all workers; R is W where each worker has one whole node.
        """
        if self._world_size == 1:
            return rows_KN[0]
        return self._on_wire(rows_KN, self._exchanged_sum)

    def _exchanged_sum(self, rows_KN: Tensor) -> Tensor:
        num_rows, size = rows_KN.shape
        width = -(-size // self._world_size)
        padded = torch.nn.functional.pad(rows_KN, (0, width * self._world_size - size))
        by_rank_WKM = padded.view(num_rows, self._world_size, width).transpose(0, 1).contiguous()
        slice_RM = rows_KN.new_empty(sum(map(len, self._nodes)), width)
        dist.all_to_all_single(
            slice_RM.view(-1),
            by_rank_WKM.view(-1),
            [len(nodes) * width for nodes in self._nodes],
            [num_rows * width] * self._world_size,
        )
        rows = dict(zip(itertools.chain(*self._nodes), slice_RM, strict=True))
        total = rows_KN.new_empty(width * self._world_size)
        dist.all_gather_into_tensor(total, tree_sum(range(self._num_shards), rows))
        return total[:size]

    def all_reduce(self, row_N: Tensor) -> Tensor:
        if self._world_size == 1:
            return row_N

        def reduced(row_N: Tensor) -> Tensor:
            dist.all_reduce(row_N)
            return row_N

        return self._on_wire(row_N, reduced)

    def gather(self, rows_LN: Tensor) -> Tensor:
        if self._world_size == 1:
            return rows_LN
        return self._on_wire(rows_LN, self._gathered)

    def _gathered(self, rows_LN: Tensor) -> Tensor:
        max_hosted, size = max(self._hosted), rows_LN.shape[1]
        padded = rows_LN.new_zeros(max_hosted, size)
        padded[: len(rows_LN)] = rows_LN
        gathered = rows_LN.new_empty(self._world_size * max_hosted, size)
        dist.all_gather_into_tensor(gathered, padded)
        parts = gathered.view(self._world_size, max_hosted, size)
        return torch.cat([parts[rank, :count] for rank, count in enumerate(self._hosted)])

    @staticmethod
    def _on_wire(tensor: Tensor, exchange: Callable[[Tensor], Tensor]) -> Tensor:
        """Exchange a tensor where the process group can: gloo has no all-to-all for a GPU.

        Workers that share a GPU use gloo, since NCCL wants a GPU for each rank.
        """
        if tensor.is_cuda and dist.get_backend() == "gloo":
            return exchange(tensor.cpu()).to(tensor.device)
        return exchange(tensor)
