"""What a checkpoint of a job must hold. It is known from the job, before a file is opened."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.checkpoints.progress import Progress
from workers.config import OptimizerConfig, TrainJob
from workers.optimizer import Optimizer
from workers.shards.order import shard_rows

Forms = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""The dtype and shape of tensors, by name."""
_HEADER_BYTES, _HEADER_BYTES_PER_TENSOR = 2**16, 2**9
"""How long the header of a safetensors file may be. Ours have some 100 bytes for a tensor."""


@dataclass(frozen=True)
class Expected:
    """What the checkpoints of one job hold."""

    model: Forms
    optimizer: Forms
    check_progress: Callable[[Progress], None]
    """Raises ValueError if the job cannot have come so far in that way."""
    is_for_use: bool = False
    """Whether the weights are used, not trained on. Then a checkpoint of another `DEFINITION` will
    do, whose fingerprint cannot be compared."""

    @classmethod
    def of(
        cls,
        job: TrainJob,
        model: nn.Module,
        steps_per_epoch: int,
        num_steps: int,
    ) -> "Expected":
        parameters = dict(model.named_parameters())
        return cls(
            forms_of(parameters),
            _optimizer_forms(parameters, job.training.optimizer),
            lambda progress: _check_progress(progress, job, steps_per_epoch, num_steps),
        )

    def check(
        self,
        progress: Progress,
        model: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        best: Mapping[str, Tensor],
    ) -> None:
        """Raise ValueError if a job could not go on from a checkpoint of this content."""
        self.check_progress(progress)
        check_forms(model, self.model)
        check_forms(optimizer, self.optimizer)
        check_forms(best, self.model if progress.best else {})
        # The moments of a parameter that is a single number have no axes either.
        counts = [float(tensor) for name, tensor in optimizer.items() if name.endswith("/step")]
        if not all(math.isfinite(count) and count >= 0 for count in counts):
            raise ValueError("a count of the optimizer is not one")


def forms_of(tensors: Mapping[str, Tensor]) -> Forms:
    return {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}


def max_bytes(forms: Forms) -> int:
    """Return the largest size of a safetensors file with tensors of these forms."""
    header = _HEADER_BYTES + _HEADER_BYTES_PER_TENSOR * len(forms)
    return header + sum(math.prod(shape) * dtype.itemsize for dtype, shape in forms.values())


def check_forms(tensors: Mapping[str, Tensor], expected: Forms) -> None:
    """Raise ValueError, which names a tensor that is missing, too many or of another form."""
    found = forms_of(tensors)
    names = (name for name in {**expected, **found} if found.get(name) != expected.get(name))
    if name := next(names, None):
        was, wanted = (str(forms.get(name, "not there")) for forms in (found, expected))
        raise ValueError(f"the tensor {name[:80]} is {was}, not {wanted}")


def _optimizer_forms(parameters: Mapping[str, nn.Parameter], config: OptimizerConfig) -> Forms:
    """Return what the optimizer keeps of each parameter that is trained.

    An optimizer of the same kind is asked, which has taken one step with a small parameter.
    """
    probe = nn.Parameter(torch.zeros(2))
    probe.grad = torch.zeros(2)
    optimizer = Optimizer(config, [probe])
    optimizer.step(config.lr)
    kept = forms_of(optimizer.tensors([""]))
    return {
        f"{name}{key}": (dtype, tuple(parameter.shape) if shape else ())
        for name, parameter in parameters.items()
        if parameter.requires_grad
        for key, (dtype, shape) in kept.items()
    }


def _check_progress(
    progress: Progress, job: TrainJob, steps_per_epoch: int, num_steps: int
) -> None:
    steps, in_epoch = progress.step, progress.step_in_epoch
    if in_epoch > steps_per_epoch or steps > num_steps:
        raise ValueError(f"step {steps} is not one of this job")
    # An epoch has fewer steps if `training.steps` ends the job in the middle of it.
    is_at_end = in_epoch == 0 and steps == num_steps
    if steps != progress.epoch * steps_per_epoch + in_epoch and not is_at_end:
        raise ValueError(f"step {steps} is not step {in_epoch} after {progress.epoch} epochs")
    if [epoch["epoch"] for epoch in progress.epochs] != list(range(1, progress.epoch + 1)):
        raise ValueError(f"it does not list the {progress.epoch} epochs once each")
    if progress.best and not 0 < progress.best.epoch <= progress.epoch:
        raise ValueError(f"its best epoch is {progress.best.epoch}")
    num_rows = _num_rows(job, in_epoch)
    if progress.sums.num_rows != num_rows or (progress.sums.wall_s <= 0) == bool(num_rows):
        raise ValueError(f"its sums are not those of {num_rows} rows")


def _num_rows(job: TrainJob, steps_in_epoch: int) -> int:
    """Return how many rows the first steps of an epoch use."""
    data, per_shard = job.data, steps_in_epoch * job.rows_per_shard_step
    shards = (shard_rows(data.train_rows, data.num_shards, n) for n in range(data.num_shards))
    return sum(min(per_shard, len(rows)) for rows in shards)
