"""Sums over the workers of a job through torch.distributed, in an order that never changes.

L shards of this worker, S shards of the job, W workers, N numbers per row, M numbers per slice.
"""

from collections.abc import Callable

import torch
import torch.distributed as dist
from torch import Tensor

from workers.shards.order import hosted_shards
from workers.worker import add_in_order


class Collectives:
    """The collective methods of `Worker`, for a process of the default process group."""

    def __init__(self, num_shards: int, world_size: int) -> None:
        self._world_size = world_size
        self._hosted = [
            len(hosted_shards(num_shards, world_size, rank)) for rank in range(world_size)
        ]

    def ordered_sum(self, rows_LN: Tensor) -> Tensor:
        """Return the sum (N) over all S shards, added in shard order.

        Each worker receives one slice of the numbers from all S rows, adds it up in shard order,
        and sends the sum to all. The traffic is about N*S/W + N numbers per worker: 2N if W is S.
        """
        if self._world_size == 1:
            return add_in_order(rows_LN)
        return self._on_wire(rows_LN, self._exchanged_sum)

    def _exchanged_sum(self, rows_LN: Tensor) -> Tensor:
        hosted, size = rows_LN.shape
        width = -(-size // self._world_size)
        padded = torch.nn.functional.pad(rows_LN, (0, width * self._world_size - size))
        by_rank_WLM = padded.view(hosted, self._world_size, width).transpose(0, 1).contiguous()
        slice_SM = rows_LN.new_empty(sum(self._hosted), width)
        dist.all_to_all_single(
            slice_SM.view(-1),
            by_rank_WLM.view(-1),
            [count * width for count in self._hosted],
            [hosted * width] * self._world_size,
        )
        total = rows_LN.new_empty(width * self._world_size)
        dist.all_gather_into_tensor(total, add_in_order(slice_SM))
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
