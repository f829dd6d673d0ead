"""The gradient row of one piece: the numbers that a few rows of one shard add to a step.

B rows of a piece, H height, W width, N parameters.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.config import TrainJob
from workers.models.augment import augment
from workers.models.classify import classify, to_unit
from workers.models.noise import NoiseSource
from workers.models.recurrent import SequenceClassifier

MICRO_BATCH_ROWS = 128
"""The most rows of one piece on a CPU. This number decides the bits of a job's result. Of 64 to
1,024 rows, 128 was the fastest per thread on CPUs, because weights and activations stay in the L2
cache."""
NUM_SUMS = 5
"""The numbers at the end of each row: loss sum, correct rows, rows, and two control flags, which
are zero here."""


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that have a gradient, in the order in which a row lists them."""
    return [p for p in model.parameters() if p.requires_grad]


def row_size(model: nn.Module) -> int:
    """Return the length of a gradient row: N + NUM_SUMS."""
    return sum(parameter.numel() for parameter in trained_parameters(model)) + NUM_SUMS


def piece_row(
    model: SequenceClassifier,
    job: TrainJob,
    images_BHW: Tensor,
    labels_B: Tensor,
    noise: NoiseSource,
    row_N: Tensor,
    is_row_B: Tensor | None = None,
) -> None:
    """Write the summed gradient of the rows of a piece into `row_N`, followed by their sums.

    Args:
        noise: draws the random numbers of augmentation and dropout.
        is_row_B: 1 for a row of the step, 0 for a row that only fills the piece. The latter adds
            exactly zero to all numbers. None if all rows are rows of the step.
        row_N: the numbers to overwrite, float32 of `row_size`.
    """
    inputs_BHW = to_unit(images_BHW)
    if job.augment.is_on:
        inputs_BHW = augment(inputs_BHW, job.augment, noise)
    logits_BC = classify(model, inputs_BHW, job, noise)
    is_correct_B = logits_BC.detach().argmax(dim=1) == labels_B
    if is_row_B is None:
        loss = F.cross_entropy(logits_BC, labels_B, reduction="sum")
        num_correct = is_correct_B.sum()
        num_rows = torch.full_like(num_correct, len(labels_B))
    else:
        loss = (F.cross_entropy(logits_BC, labels_B, reduction="none") * is_row_B).sum()
        num_correct, num_rows = (is_correct_B * is_row_B).sum(), is_row_B.sum()
    parameters = trained_parameters(model)
    gradients = torch.autograd.grad(loss, parameters)
    sums = torch.stack([loss.detach(), num_correct, num_rows])
    sizes = [*(parameter.numel() for parameter in parameters), len(sums), NUM_SUMS - len(sums)]
    *parts, flags = torch.split(row_N, sizes)
    for part, value in zip(parts, (*gradients, sums), strict=True):
        part.copy_(value.reshape(-1))
    flags.zero_()
