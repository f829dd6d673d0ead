"""The gradient of a step: one row of numbers per shard, summed over all workers as a fixed tree.

N parameters, K nodes of the tree that this worker has whole.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.rows import Rows
from workers.errors import ResourcesError
from workers.gpu.shard_rows import GpuRows
from workers.models.compute_copy import ComputeCopy
from workers.pieces import NUM_SUMS, trained_parameters
from workers.shard_threads import ShardThreads, ThreadedRows
from workers.timer import Timer
from workers.worker import Worker

_STOP_FLAG, _NOTICE_FLAG = -2, -1  # where the control flags are in a row


@dataclass(frozen=True)
class ControlFlags:
    """What worker 0 asks all workers to do after a step. The flags travel with the gradients."""

    stop: bool = False
    """End the job after this step."""
    check_notice: bool = False
    """Ask Ray whether a worker's machine is about to be taken away."""


@dataclass(frozen=True)
class Step:
    """The outcome of one step, summed over all shards.

    On a GPU, the first look at one of its numbers waits for the device.
    """

    gradient_N: Tensor
    """The mean gradient over the rows of the step."""
    sums: Tensor
    """The NUM_SUMS numbers behind the gradient."""
    timer: Timer
    """Measures the exchange with the other workers."""

    @cached_property
    def _values(self) -> list[float]:
        values: list[float] = self.sums.tolist()
        return values

    @property
    def loss_sum(self) -> float:
        return self._values[0]

    @property
    def score_sum(self) -> float:
        """The sum behind the score of the job's target."""
        return self._values[1]

    @property
    def num_rows(self) -> int:
        return int(self._values[2])

    @property
    def flags(self) -> ControlFlags:
        return ControlFlags(
            stop=self._values[_STOP_FLAG] > 0, check_notice=self._values[_NOTICE_FLAG] > 0
        )

    @property
    def exchange_s(self) -> float:
        """Seconds that the exchange with the other workers took. Look at the sums before."""
        return self.timer.seconds()


class ShardRows(Protocol):
    """What computes the gradients of the hosted shards: the CPUs or the GPU of a worker."""

    def compute(self, epoch: int, step: int, batches: dict[int, Rows]) -> Tensor:
        """Return a row (K, N + NUM_SUMS) for each node of the tree that the hosted shards make up,
        as `shards.tree.nodes_within` lists them; or one row for all of them if fused."""
        ...


class Gradients:
    """The gradients of one job on one worker: their computation and their exchange."""

    def __init__(
        self, model: nn.Module, job: TrainJob, worker: Worker, threads: ShardThreads
    ) -> None:
        self._worker, self._is_fused = worker, job.training.gradients == "fused"
        self._parameters = trained_parameters(model)
        self.compute_copy = ComputeCopy(model, job.training.precision, worker.device)
        self._shards: ShardRows = (
            _rows_on_gpu(self.compute_copy.module, job, worker)
            if worker.device.type == "cuda"
            else ThreadedRows(model, job, worker.shards, threads)
        )

    def step(self, epoch: int, step: int, batches: dict[int, Rows], flags: ControlFlags) -> Step:
        """Compute the gradient of a step and exchange it with all other workers.

        Args:
            batches: this step's rows of each hosted shard.
            flags: what this worker asks for. The returned flags say what any worker asks for.
        """
        self.compute_copy.refresh()
        rows = self._shards.compute(epoch, step, batches)
        for place, flag in ((_STOP_FLAG, flags.stop), (_NOTICE_FLAG, flags.check_notice)):
            if flag:
                rows[0, place].fill_(1.0)
        timer = Timer(self._worker.device)
        timer.start()
        total = self._exchange(rows)
        timer.stop()
        sums = total[-NUM_SUMS:]
        return Step(total[:-NUM_SUMS] / sums[2], sums, timer)

    def _exchange(self, rows: Tensor) -> Tensor:
        if self._is_fused:
            return self._worker.all_reduce(rows[0])
        return self._worker.tree_sum(rows)

    def assign(self, gradient_N: Tensor) -> None:
        """Give each parameter its part of the flat gradient, for the optimizer."""
        sizes = [parameter.numel() for parameter in self._parameters]
        for parameter, part in zip(self._parameters, torch.split(gradient_N, sizes), strict=True):
            parameter.grad = part.view_as(parameter)


def _rows_on_gpu(model: nn.Module, job: TrainJob, worker: Worker) -> GpuRows:
    """Record the computation of the hosted shards. Raises ResourcesError if memory is short."""
    try:
        return GpuRows(model, job, worker.shards, worker.device)
    except torch.OutOfMemoryError as error:
        raise ResourcesError(
            "the GPU has not enough memory for a step of this job",
            "lower --batch-size or model.hidden_size, or let fewer workers share the GPU",
        ) from error
