"""What a kind of target means for training: its loss, and the sums behind its metrics.

B rows, C outputs of the model, K sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

COMMON_SUMS = 4
"""How many numbers all kinds of targets begin their sums with: loss, score, rows, and the score of
the first rows of the split, which are reported beside the whole."""


@dataclass(frozen=True)
class Metrics:
    """The metrics of some rows."""

    loss: float
    values: dict[str, float]
    """By name, first the target's score."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else is in the result of the test split, as JSON."""


class TargetRules(Protocol):
    """The loss and the metrics of one kind of target."""

    score: str
    """The name of the metric that is shown while the job trains. It is summed over rows."""
    best_is: int
    """1 if a higher score is better, -1 if a lower one is."""
    num_sums: int
    """K."""

    def losses(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """Return the loss of each row (B)."""
        ...

    def loss_sum(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """Return the sum of the losses of all rows."""
        ...

    def scores(self, outputs_BC: Tensor, targets_B: Tensor) -> Tensor:
        """Return what each row adds to the sum behind the score (B)."""
        ...

    def sums(self, outputs_BC: Tensor, targets_B: Tensor, is_head_B: Tensor) -> Tensor:
        """Return what some rows add to the sums of an evaluation (K), float64.

        `is_head_B`: whether a row is one of the first rows of the split.
        """
        ...

    def metrics(self, sums: Sequence[float]) -> Metrics:
        """Return the metrics behind the sums of all rows (K)."""
        ...
