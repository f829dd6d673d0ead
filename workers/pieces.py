"""The gradient row of one piece: the numbers that a few rows of one shard add to a step.

B rows of a piece, C outputs, N parameters.
"""

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.rows import Batch
from workers.data.targets.rules import rules_for
from workers.data.targets.target_rules import TargetRules
from workers.models.noise import NoiseSource
from workers.models.sequences import hidden_outputs, model_outputs

MICRO_BATCH_ROWS = 128
"""The most rows of one piece on a CPU. This number decides the bits of a job's result. Of 64 to
1,024 rows, 128 was the fastest per thread on CPUs, because weights and activations stay in the L2
cache."""
_MAX_OUTPUTS = 2**28
"""The most hidden outputs of one piece on a CPU, 1 GiB of them, so that long sequences fit into
memory. This number decides the bits of a job's result, too."""
NUM_SUMS = 5
"""The numbers at the end of each row: sum of the losses, sum behind the score, rows, and two
control flags, which are zero here."""


def piece_rows(job: TrainJob) -> int:
    """Return the most rows of one piece on a CPU. It is a function of the job alone."""
    fitting = _MAX_OUTPUTS // hidden_outputs(job)
    return max(1, min(MICRO_BATCH_ROWS, fitting))


def trained_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that have a gradient, in the order in which a row lists them."""
    return [p for p in model.parameters() if p.requires_grad]


def row_size(model: nn.Module) -> int:
    """Return the length of a gradient row: N + NUM_SUMS."""
    return sum(parameter.numel() for parameter in trained_parameters(model)) + NUM_SUMS


def rules_of(job: TrainJob) -> TargetRules:
    """Return the loss and the metrics of a job."""
    training = job.training
    return rules_for(job.data, training.loss, training.class_weights, training.label_smoothing)


def piece_row(
    model: nn.Module,
    job: TrainJob,
    rules: TargetRules,
    batch: Batch,
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
    outputs_BC = model_outputs(model, batch, job, noise)
    scores_B = rules.scores(outputs_BC.detach(), batch.targets_N)
    if is_row_B is None:
        loss = rules.loss_sum(outputs_BC, batch.targets_N)
        score = scores_B.sum()
        num_rows = torch.full_like(loss, len(batch))
    else:
        loss = (rules.losses(outputs_BC, batch.targets_N) * is_row_B).sum()
        score, num_rows = (scores_B * is_row_B).sum(), is_row_B.sum()
    parameters = trained_parameters(model)
    # A user's own model may have parameters that it does not use.
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    sums = torch.stack([loss.detach(), score, num_rows])
    sizes = [*(parameter.numel() for parameter in parameters), len(sums), NUM_SUMS - len(sums)]
    *parts, sums_of_row, flags = torch.split(row_N, sizes)
    torch._foreach_copy_(parts, [gradient.reshape(-1) for gradient in gradients])
    sums_of_row.copy_(sums)
    flags.zero_()
