"""Gradients and gates of a built-in model at each time step of some rows.

B rows, T time steps, H hidden units.
"""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from workers.config import TrainJob
from workers.data.targets.target_rules import TargetRules
from workers.models.sequences import outputs_of
from workers.trained.explain.averages import Averages
from workers.trained.explain.explanation import GateCurve, GradientCurve
from workers.trained.explain.replay import Replay

HIDDEN, CELL = "hidden state", "cell state"
_Place = tuple[str, int, bool]
"""The name of a state or gate, the number of the layer, whether it reads backwards."""


class NetworkCurves:
    """Collects the curves of a model, batch by batch."""

    def __init__(self, replay: Replay, job: TrainJob, rules: TargetRules) -> None:
        self._replay, self._job, self._rules = replay, job, rules
        self._norms: Mapping[_Place, Averages] = defaultdict(lambda: Averages(from_end=True))
        self._means: Mapping[_Place, Averages] = defaultdict(lambda: Averages(from_end=False))

    def add(self, sequences: Tensor, lengths_B: Tensor | None, targets_B: Tensor) -> None:
        """Read the rows, and add what their steps show."""
        outputs_BC = outputs_of(self._replay.model, sequences, lengths_B, self._job)
        loss = self._rules.losses(outputs_BC, targets_B).sum()
        for place, norms_BT in self._gradient_norms(loss):
            self._norms[place].add(norms_BT, lengths_B)
        for direction in self._replay.directions:
            for gate in direction.cell.steps[0].gates:
                means_BT = torch.stack(
                    [step.gates[gate].detach().mean(dim=1) for step in direction.cell.steps], dim=1
                )
                self._means[gate, direction.layer, direction.backwards].add(means_BT, lengths_B)

    def _gradient_norms(self, loss: Tensor) -> list[tuple[_Place, Tensor]]:
        """Return the norm of the gradient of each row's own loss by each state (B, T).

        A state is one tensor, whatever reads it: the next step, the layer above, the head. So its
        gradient has all ways to the loss in it.
        """
        states = list[tuple[_Place, list[Tensor]]]()
        for direction in self._replay.directions:
            steps, place = direction.cell.steps, (direction.layer, direction.backwards)
            states.append(((HIDDEN, *place), [step.hidden_BH for step in steps]))
            if steps[0].cell_BH is not None:
                cells = [step.cell_BH for step in steps if step.cell_BH is not None]
                states.append(((CELL, *place), cells))
        flat = [state for _, each in states for state in each]
        # Behind a cut of truncated back-propagation, nothing reaches the loss: zero.
        gradients = torch.autograd.grad(loss, flat, allow_unused=True, materialize_grads=True)
        norms = iter([gradient.norm(dim=1) for gradient in gradients])
        return [(place, torch.stack([next(norms) for _ in each], dim=1)) for place, each in states]

    def gradients(self) -> tuple[GradientCurve, ...]:
        return tuple(GradientCurve(*place, each.means()) for place, each in self._norms.items())

    def gates(self) -> tuple[GateCurve, ...]:
        return tuple(GateCurve(*place, each.means()) for place, each in self._means.items())
