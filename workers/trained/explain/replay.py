"""Run a built-in model step by step, and keep what its cells compute.

B rows, T time steps, F features, H hidden units.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.models.recurrent import RecurrentNetwork, run_cell
from workers.trained.explain.cells import STEPS, Step

State = Tensor | tuple[Tensor, Tensor]
"""What a cell hands on to its next call: the hidden state, of an LSTM also the cell state."""


class ReplayedCell(nn.Module):
    """Takes the place of a cell: the same function, one time step after the other."""

    def __init__(self, cell: nn.RNNBase) -> None:
        super().__init__()
        self._cell, self._step = cell, STEPS[cell.mode]
        self.steps: list[Step] = []
        """Those of the last sequence, also if it came in chunks, in the order of reading."""

    def forward(self, x_BTF: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        if state is None:
            self.steps = []
            zeros_BH = x_BTF.new_zeros(len(x_BTF), self._cell.hidden_size)
            step = Step(zeros_BH, zeros_BH)
        else:
            step = Step(*state) if isinstance(state, tuple) else Step(state)
        first = len(self.steps)
        for x_BF in x_BTF.unbind(1):
            step = self._step(self._cell, x_BF, step)
            self.steps.append(step)
        outputs_BTH = torch.stack([each.hidden_BH for each in self.steps[first:]], dim=1)
        cell_BH = step.cell_BH
        return outputs_BTH, step.hidden_BH if cell_BH is None else (step.hidden_BH, cell_BH)


@dataclass(frozen=True)
class Direction:
    """One direction of one layer."""

    layer: int
    """From 1."""
    backwards: bool
    cell: ReplayedCell


class Replay:
    """A copy of a model that keeps its steps. It cuts the gradient where training cuts it."""

    def __init__(self, model: RecurrentNetwork) -> None:
        self.model = copy.deepcopy(model).eval()
        self.model.run_cell = run_cell
        self.directions: list[Direction] = list(self._replaced())

    def _replaced(self) -> Iterator[Direction]:
        for number, layer in enumerate(self.model.layers, start=1):
            assert isinstance(layer, nn.ModuleList)
            for place, cell in enumerate(layer):
                assert isinstance(cell, nn.RNNBase)
                replayed = ReplayedCell(cell)
                layer[place] = replayed
                yield Direction(number, place == 1, replayed)

    def top_states(self) -> Tensor:
        """Return the states (B, T, H) of the top layer, forwards, in the last forward pass."""
        top = self.directions[-2 if self.model.config.bidirectional else -1]
        return torch.stack([step.hidden_BH for step in top.cell.steps], dim=1)
