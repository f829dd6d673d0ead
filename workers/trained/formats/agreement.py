"""Compare what an exported model computes with what rnnjob computes for the same rows.

B rows, C classes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.config import TrainJob
from workers.data.kinds import NumberTarget
from workers.data.rows import Batch
from workers.errors import JobError
from workers.models.compute_copy import ComputeCopy
from workers.models.cpu_kernels import bf16_kernels
from workers.models.sequences import model_outputs
from workers.trained.load import TrainedModel

TOLERANCE = 1e-5
"""The largest difference of a probability. That of a number is in units of `NumberTarget.std`."""
Predict = Callable[[Batch], Tensor]
"""Returns the probabilities (B, C), or the numbers (B), of some rows."""


@dataclass(frozen=True)
class Agreement:
    """How far two ways to compute the same rows agree."""

    num_rows: int = 0
    difference: float = 0.0
    """The largest difference of a probability or, in units of the targets' `std`, of a number. The
    latter is relative above 1."""
    other_classes: int = 0
    """The rows with another class. If the two best classes of a row are within TOLERANCE of each
    other, either is right."""

    @property
    def is_close(self) -> bool:
        return self.difference <= TOLERANCE and not self.other_classes

    def and_of(self, found: Tensor, wanted: Tensor, job: TrainJob) -> "Agreement":
        """Return the agreement on more rows. Raises JobError if the outputs are of another form."""
        if found.shape != wanted.shape:
            raise JobError(f"outputs of shape {tuple(found.shape)}, not {tuple(wanted.shape)}")
        difference, others = _differences(found.double(), wanted.double(), job)
        largest = float(difference.max()) if len(wanted) else 0.0
        return Agreement(
            self.num_rows + len(wanted),
            # A NaN must not be lost in max().
            largest if largest != largest else max(self.difference, largest),
            self.other_classes + others,
        )


def _differences(found: Tensor, wanted: Tensor, job: TrainJob) -> tuple[Tensor, int]:
    target = job.data.target
    difference = (found - wanted).abs()
    if isinstance(target, NumberTarget):
        scaled_B = ((wanted - target.mean) / target.std).abs().clamp(min=1.0)
        return difference / target.std / scaled_B, 0
    best_B1 = wanted.gather(1, found.argmax(dim=1, keepdim=True))
    is_other_B1 = best_B1 < wanted.amax(dim=1, keepdim=True) - TOLERANCE
    return difference, int(is_other_B1.sum())


@dataclass(frozen=True)
class Comparison:
    """What an exported model computes, against rnnjob in float32 and in the run's precision."""

    in_float32: Agreement
    in_own_precision: Agreement | None
    """None for a run in fp32."""


def compare(predict: Predict, batches: Iterable[Batch], model: TrainedModel) -> Comparison:
    """Compute the same rows in both ways. Raises what `predict` raises."""
    job = model.job
    training = job.training.model_copy(update={"precision": "fp32"})
    exact = job.model_copy(update={"training": training})
    is_bf16 = job.training.precision == "bf16"
    agreement, rounded = Agreement(), Agreement()
    with torch.no_grad():
        for batch in batches:
            found = predict(batch)
            agreement = agreement.and_of(found, _reference(model, batch, exact), job)
            if is_bf16:
                rounded = rounded.and_of(_reference(model, batch, job), found, job)
    return Comparison(agreement, rounded if is_bf16 else None)


def _reference(model: TrainedModel, batch: Batch, job: TrainJob) -> Tensor:
    """Return the outputs as training and evaluation compute them, as probabilities or numbers."""
    device, precision = torch.device("cpu"), job.training.precision
    with bf16_kernels(precision, device):
        module = ComputeCopy(model.module, precision, device).module
        outputs_BC = model_outputs(module, batch, job)
    target = job.data.target
    if isinstance(target, NumberTarget):
        return outputs_BC.squeeze(1).double() * target.std + target.mean
    return outputs_BC.softmax(dim=1)
