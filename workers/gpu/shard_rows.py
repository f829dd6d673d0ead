"""Gradient rows on a GPU: each shard by calls of one fixed shape, on several queues at once.

Therefore the bits of a shard's row do not depend on how many shards share the card, nor on which
queue computes them. L shards of this worker, K blocks of a shard's rows, P rows of a block, H
height, W width, N parameters.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from workers.config import TrainJob
from workers.gpu.lane import FixedNoise, Lane
from workers.gpu.queues import CudaQueue, Queue
from workers.models.recurrent import SequenceClassifier
from workers.pieces import piece_row, row_size
from workers.seeds import Purpose, seed_of
from workers.shards.rows import Rows

_MAX_LANES = 8
"""Calls that run beside each other. Each takes memory of its own."""
_MAX_OUTPUTS = 2**26
"""The most hidden outputs of one call: 4,096 rows of 32 time steps of 512 numbers, for example.
This number decides the bits of a job's result, since it decides the rows of a call."""


def block_rows(job: TrainJob) -> int:
    """Return the rows of one call for one shard. It is a function of the job alone."""
    model, data = job.model, job.data
    steps = {"rows": data.height, "columns": data.width, "pixels": data.height * data.width}
    width = model.hidden_size * (2 if model.bidirectional else 1)
    fitting = _MAX_OUTPUTS // (steps[model.read] * width * model.num_layers)
    return max(1, min(_most_rows(job), fitting))


def _most_rows(job: TrainJob) -> int:
    """Return the most rows that a shard adds to a step: a batch may be larger than the data set."""
    longest = -(-job.data.train_rows // job.data.num_shards)
    return min(job.rows_per_shard_step, longest)


class _StepBuffers:
    """The rows of a step at the places in memory from which the recorded calls read them."""

    def __init__(self, job: TrainJob, shards: range, device: torch.device) -> None:
        rows = block_rows(job)
        shape = (len(shards), -(-_most_rows(job) // rows), rows)
        size = (job.data.height, job.data.width)
        self.images_LKPHW = torch.zeros(*shape, *size, dtype=torch.uint8, device=device)
        self.labels_LKP = torch.zeros(*shape, dtype=torch.int64, device=device)
        self.is_row_LKP = torch.zeros(*shape, device=device)
        self._num_rows: list[int] = []

    @property
    def num_blocks(self) -> int:
        """K, the blocks of a shard."""
        return self.images_LKPHW.shape[1]

    def fill(self, batches: dict[int, Rows]) -> None:
        """Put the rows of a step into their places. Places without a row become zero."""
        images = self.images_LKPHW.flatten(1, 2)
        labels = self.labels_LKP.flatten(1, 2)
        num_rows = [len(rows) for rows in batches.values()]
        if num_rows != self._num_rows:
            is_row = self.is_row_LKP.flatten(1, 2)
            for shard, number in enumerate(num_rows):
                is_row[shard, :number] = 1.0
                for buffer in (images, labels, is_row):
                    buffer[shard, number:] = 0
            self._num_rows = num_rows
        places = [(shard, number) for shard, number in enumerate(num_rows) if number]
        if not places:  # the other workers have the last rows of the epoch
            return
        parts = [rows for rows in batches.values() if len(rows)]
        for buffer, values in (
            (images, [rows.images_NHW for rows in parts]),
            (labels, [rows.labels_N for rows in parts]),
        ):
            targets = [buffer[shard, :number] for shard, number in places]
            torch._foreach_copy_(targets, values, non_blocking=True)


class GpuRows:
    """Computes the gradient rows of the hosted shards on one GPU."""

    def __init__(
        self,
        model: SequenceClassifier,
        job: TrainJob,
        shards: range,
        device: torch.device,
        new_queue: Callable[[torch.device], Queue] = CudaQueue,
        max_lanes: int = _MAX_LANES,
    ) -> None:
        """`model` may be a copy of lower precision; its weights are read at each step."""
        self._seed = job.training.seed
        self._buffers = _StepBuffers(job, shards, device)
        is_fused = job.training.gradients == "fused"
        # `fused` computes a block of each shard in one call.
        groups = [list(shards)] if is_fused else [[shard] for shard in shards]
        self._rows = torch.zeros(len(groups), row_size(model), device=device)
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
                    model, job, self._buffers, lane.noise, (hosted, block), row_N, later_N
                )
                lane.add(group, block, compute)

    def compute(self, epoch: int, step: int, batches: dict[int, Rows]) -> Tensor:
        """Return the gradient rows (L, N + NUM_SUMS) of a step's rows, or one row if fused.

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
    model: SequenceClassifier,
    job: TrainJob,
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
        piece_row(
            model,
            job,
            buffers.images_LKPHW[which].flatten(0, 1),
            buffers.labels_LKP[which].flatten(0, 1),
            noise,
            row_N if later_N is None else later_N,
            buffers.is_row_LKP[which].flatten(0, 1),
        )
        if later_N is not None:
            row_N.add_(later_N)

    return compute
