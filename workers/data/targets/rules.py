"""From the kind of a target, and the keys of a job that are about it, to its loss and metrics."""

from collections.abc import Mapping
from typing import Literal

from workers.data.kinds import ClassTarget, DataShape, NumberTarget
from workers.data.targets.class_rules import ClassRules
from workers.data.targets.number_rules import NumberRules
from workers.data.targets.target_rules import TargetRules

ClassWeights = Literal["none", "balanced"] | Mapping[str, float]


def rules_for(
    data: DataShape, loss: str, class_weights: ClassWeights, label_smoothing: float
) -> TargetRules:
    """Return the loss and the metrics. `loss`: its name, or `auto` for the usual one."""
    target = data.target
    if isinstance(target, NumberTarget):
        return NumberRules(target, "mse" if loss == "auto" else loss)
    return ClassRules(target, _weights(target, data.train_rows, class_weights), label_smoothing)


def _weights(target: ClassTarget, num_rows: int, weights: ClassWeights) -> list[float] | None:
    """Return what the loss of each class is multiplied with. `num_rows`: of training."""
    if isinstance(weights, Mapping):
        return [weights[name] for name in target.names]
    if weights == "none":
        return None
    each = num_rows / len(target.names)
    return [each / count if count else 0.0 for count in target.train_counts]
