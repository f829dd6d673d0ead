"""Classes as targets: cross-entropy, accuracy, confusion matrix.

B rows, C classes, K sums: the common ones and the confusion matrix.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.data.kinds import ClassTarget
from workers.data.targets.target_rules import COMMON_SUMS, Metrics


class ClassRules:
    """The loss and the metrics of classes."""

    score, best_is = "accuracy", 1

    def __init__(
        self, target: ClassTarget, weights: Sequence[float] | None, label_smoothing: float
    ) -> None:
        """`weights`: what the loss of a row is multiplied with, by its class."""
        self._names = target.names
        self.num_sums = COMMON_SUMS + len(target.names) ** 2
        self._weights_C = None if weights is None else torch.tensor(weights)
        self._smoothing = label_smoothing

    def losses(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        return self._cross_entropy(outputs_BC, targets_B, "none")

    def loss_sum(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        return self._cross_entropy(outputs_BC, targets_B, "sum")

    def _cross_entropy(self, outputs_BC: Tensor, targets_B: Tensor, reduction: str) -> Tensor:
        if self._weights_C is not None and self._weights_C.device != outputs_BC.device:
            self._weights_C = self._weights_C.to(outputs_BC.device)
        return F.cross_entropy(
            outputs_BC,
            targets_B,
            self._weights_C,
            reduction=reduction,
            label_smoothing=self._smoothing,
        )

    def scores(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        return outputs_BC.argmax(dim=1) == targets_B

    def sums(self, outputs_BC: Tensor, targets_B: Tensor, is_head_B: Tensor) -> Tensor:
        num_classes = len(self._names)
        sums = torch.zeros(self.num_sums, dtype=torch.float64, device=outputs_BC.device)
        predicted_B = outputs_BC.argmax(dim=1)
        is_correct_B = predicted_B == targets_B
        sums[0] = self.loss_sum(outputs_BC, targets_B)
        sums[1] = is_correct_B.sum()
        sums[2] = len(targets_B)
        sums[3] = (is_correct_B & is_head_B).sum()
        pairs_B = targets_B * num_classes + predicted_B
        sums[COMMON_SUMS:] = torch.bincount(pairs_B, minlength=num_classes**2)
        return sums

    def metrics(self, sums: Sequence[float]) -> Metrics:
        loss, num_correct, num_rows, _, *pairs = sums
        num_classes = len(self._names)
        confusion = [
            [int(n) for n in pairs[c * num_classes : (c + 1) * num_classes]]
            for c in range(num_classes)
        ]
        return Metrics(
            loss / num_rows,
            {"accuracy": num_correct / num_rows},
            {"per_class": per_class(confusion, self._names), "confusion_matrix": confusion},
        )


def per_class(confusion: list[list[int]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the precision and the recall of each class; None if the divisor is 0.

    `confusion`: the number of rows by true class (first index) and predicted class (second index).
    """
    predicted = [sum(column) for column in zip(*confusion, strict=True)]
    return [
        {
            "class": c,
            "name": names[c],
            "rows": (actual := sum(row)),
            "precision": row[c] / predicted[c] if predicted[c] else None,
            "recall": row[c] / actual if actual else None,
        }
        for c, row in enumerate(confusion)
    ]
