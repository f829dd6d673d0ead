"""Gradient rows on a GPU: each shard by calls of one fixed shape, on several queues at once.

Therefore the bits of a shard's row do not depend on how many shards share the card, nor on which
queue computes them. L shards of this worker, K nodes of the tree of shards that it has whole or
blocks of a shard's rows, P rows of a block, N parameters.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.rows import Batch, Rows, empty_batch, padded_to_longest
from workers.data.targets.target_rules import TargetRules
from workers.gpu.lane import FixedNoise, Lane
from workers.gpu.queues import CudaQueue, Queue
from workers.models.sequences import hidden_outputs
from workers.pieces import piece_row, row_size, rules_of
from workers.seeds import Purpose, seed_of
from workers.shards.tree import nodes_within, stacked, tree_sum

_MAX_LANES = 8
"""Calls that run beside each other. Each takes memory of its own."""
_MAX_OUTPUTS = 2**26
"""The most hidden outputs of one call: 4,096 rows of 32 time steps of 512 numbers, for example.
This number decides the bits of a job's result, since it decides the rows of a call."""


def block_rows(job: TrainJob) -> int:
    """Return the rows of one call for one shard. It is a function of the job alone."""
    return max(1, min(_most_rows(job), _MAX_OUTPUTS // hidden_outputs(job)))


def _most_rows(job: TrainJob) -> int:
    """Return the most rows that a shard adds to a step: a batch may be larger than the data set."""
    longest = -(-job.data.train_rows // job.data.num_shards)
    return min(job.rows_per_shard_step, longest)


class _StepBuffers:
    """The rows of a step at the places in memory from which the recorded calls read them."""

    def __init__(self, job: TrainJob, shards: range, device: torch.device) -> None:
        rows = block_rows(job)
        shape = (len(shards), -(-_most_rows(job) // rows), rows)
        self._data = job.data
        self._batch = empty_batch(job.data, *shape, device=device)
        self._is_row_LKP = torch.zeros(*shape, device=device)
        self._num_rows: list[int] = []

    @property
    def num_blocks(self) -> int:
        """K, the blocks of a shard."""
        return self._is_row_LKP.shape[1]

    def block(self, shards: slice, block: int) -> tuple[Batch, Tensor]:
        """Return one block of each shard as one batch, and which of its places hold a row."""
        inputs, targets, lengths, is_row = (
            None if buffer is None else buffer[shards, block].flatten(0, 1)
            for buffer in (
                self._batch.inputs,
                self._batch.targets_N,
                self._batch.lengths_N,
                self._is_row_LKP,
            )
        )
        assert inputs is not None and targets is not None and is_row is not None
        return Batch(inputs, targets, lengths), is_row

    def fill(self, batches: dict[int, Rows]) -> None:
        """Put the rows of a step into their places. Places without a row become zero.

        What a place without a row holds is computed with, and then multiplied by zero. Its length
        is 1, because a mean over no time steps would not be a number.
        """
        num_rows = [len(rows) for rows in batches.values()]
        buffers = [self._batch.inputs, self._batch.targets_N]
        if self._batch.lengths_N is not None:
            buffers.append(self._batch.lengths_N)
        flat = [buffer.flatten(1, 2) for buffer in buffers]
        if num_rows != self._num_rows:
            is_row = self._is_row_LKP.flatten(1, 2)
            for shard, number in enumerate(num_rows):
                is_row[shard, :number] = 1.0
                for buffer, empty in zip((is_row, *flat), (0, 0, 0, 1), strict=False):
                    buffer[shard, number:] = empty
            self._num_rows = num_rows
        places = [(shard, number) for shard, number in enumerate(num_rows) if number]
        if not places:  # the other workers have the last rows of the epoch
            return
        parts = [padded_to_longest(rows, self._data) for rows in batches.values() if len(rows)]
        for buffer, values in zip(flat, zip(*(p.tensors for p in parts), strict=True), strict=True):
            targets = [buffer[shard, :number] for shard, number in places]
            torch._foreach_copy_(targets, list(values), non_blocking=True)


class GpuRows:
    """Computes the gradient rows of the hosted shards on one GPU."""

    def __init__(
        self,
        model: nn.Module,
        job: TrainJob,
        shards: range,
        device: torch.device,
        new_queue: Callable[[torch.device], Queue] = CudaQueue,
        max_lanes: int = _MAX_LANES,
    ) -> None:
        """`model` may be a copy of lower precision; its weights are read at each step."""
        self._seed, rules = job.training.seed, rules_of(job)
        self._buffers = _StepBuffers(job, shards, device)
        self._is_fused = job.training.gradients == "fused"
        # `fused` computes a block of each shard in one call.
        groups = [list(shards)] if self._is_fused else [[shard] for shard in shards]
        self._rows = torch.zeros(len(groups), row_size(model), device=device)
        self._leaves = nodes_within(job.data.num_shards, shards, max_shards=1)
        self._roots = nodes_within(job.data.num_shards, shards)
        self._lanes = [
            Lane(new_queue(device), FixedNoise(len(groups[0]), block_rows(job), device))
            for _ in range(min(max_lanes, len(groups)))
        ]
        # Where a lane computes all blocks but a shard's first, before they are added to its row.
        later = torch.zeros(len(self._lanes), row_size(model), device=device)
        for place, group in enumerate(groups):
            number = place % len(self._lanes)
            lane = self._lanes[number]
            hosted = slice(group[0] - shards.start, group[-1] + 1 - shards.start)
            for block in range(self._buffers.num_blocks):
                row_N, later_N = self._rows[place], later[number] if block else None
                compute = _block_call(
                    model, job, rules, self._buffers, lane.noise, (hosted, block), row_N, later_N
                )
                lane.add(group, block, compute)

    def compute(self, epoch: int, step: int, batches: dict[int, Rows]) -> Tensor:
        """Return the rows (K, N + NUM_SUMS) of the nodes that this worker has whole; see
        `workers.gradients.ShardRows`. They may be in the buffer that `shard_rows` returns."""
        rows = self.shard_rows(epoch, step, batches)
        if self._is_fused:
            return rows
        by_node = dict(zip(self._leaves, rows, strict=True))
        return stacked([tree_sum(root, by_node) for root in self._roots])

    def shard_rows(self, epoch: int, step: int, batches: dict[int, Rows]) -> Tensor:
        """Return the gradient rows (L, N + NUM_SUMS) of the shards, or one row if fused.

        They are in a buffer of the device, which the next call overwrites. The device may still
        compute them when this returns; what is issued to it afterwards waits for them.
        """
        self._buffers.fill(batches)
        seed = partial(seed_of, self._seed, Purpose.STEP, epoch, step)
        for lane in self._lanes:
            lane.run(seed)
        for lane in self._lanes:
            lane.queue.join()
        return self._rows


def _block_call(
    model: nn.Module,
    job: TrainJob,
    rules: TargetRules,
    buffers: _StepBuffers,
    noise: FixedNoise,
    which: tuple[slice, int],
    row_N: Tensor,
    later_N: Tensor | None,
) -> Callable[[], None]:
    """Return what computes the gradient row of one block.

    Args:
        which: the hosted shards, by their places in the buffers, and the number of their block.
        row_N: receives the row of a shard's first block.
        later_N: receives the row of a later block, which is then added to `row_N`.
    """

    def compute() -> None:
        batch, is_row = buffers.block(*which)
        target_N = row_N if later_N is None else later_N
        piece_row(model, job, rules, batch, noise, target_N, is_row)
        if later_N is not None:
            row_N.add_(later_N)

    return compute
