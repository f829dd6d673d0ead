"""Numbers as targets: regression with MAE, RMSE and R².

Outputs of the model and targets are in units of the training rows' standard deviation around their
mean, so that one learning rate serves numbers of any size. So is the loss. MAE and RMSE are in the
units of the column. B rows, K sums: the common ones, squared errors, targets, squared targets.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.data.kinds import NumberTarget
from workers.data.targets.target_rules import COMMON_SUMS, Metrics

_LOSSES: dict[str, Callable[..., Tensor]] = {
    "mse": F.mse_loss,
    "mae": F.l1_loss,
    "huber": F.huber_loss,
}
NUMBER_LOSSES = tuple(_LOSSES)
_ROUNDING = 1e-12
"""The share of a sum of squares that may be nothing but rounding."""


class NumberRules:
    """The loss and the metrics of numbers."""

    score, best_is, num_sums = "mae", -1, COMMON_SUMS + 3

    def __init__(self, target: NumberTarget, loss: str) -> None:
        """`loss`: one of NUMBER_LOSSES. `huber` (Huber, 1964) is quadratic up to an error of 1."""
        self._std, self._loss = target.std, _LOSSES[loss]

    def losses(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        return self._loss(outputs_BC.squeeze(1), targets_B, reduction="none")

    def loss_sum(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        return self.losses(outputs_BC, targets_B).sum()

    def scores(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        return (outputs_BC.squeeze(1) - targets_B).abs() * self._std

    def sums(self, outputs_BC: Tensor, targets_B: Tensor, is_head_B: Tensor) -> Tensor:
        errors_B = (outputs_BC.squeeze(1) - targets_B).double()
        targets_B64 = targets_B.double()
        num_rows = torch.tensor(float(len(targets_B)), device=errors_B.device).double()
        return torch.stack(
            [
                self.loss_sum(outputs_BC, targets_B).double(),
                errors_B.abs().sum(),
                num_rows,
                (errors_B.abs() * is_head_B).sum(),
                errors_B.square().sum(),
                targets_B64.sum(),
                targets_B64.square().sum(),
            ]
        )

    def metrics(self, sums: Sequence[float]) -> Metrics:
        loss, absolute, num_rows, _, squared, targets, squared_targets = sums
        # The mean of standardized targets is near 0, so little is lost in this difference.
        variation = squared_targets - targets * targets / num_rows
        varies = variation > _ROUNDING * squared_targets
        return Metrics(
            loss / num_rows,
            {
                "mae": absolute / num_rows * self._std,
                "rmse": math.sqrt(squared / num_rows) * self._std,
                # Without any variation of the targets, R² has no value; 0 is that of their mean.
                "r2": 1 - squared / variation if varies else 0.0,
            },
        )
