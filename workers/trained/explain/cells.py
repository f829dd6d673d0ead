"""The recurrent cells, one time step at a time, with their gates.

torch computes a whole sequence in one call and keeps the gates to itself. Here the same functions
are written out, with torch's weights and in its order of gates, so that each state and each gate is
a tensor of its own. B rows, F features, H hidden units.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """What a cell has computed at one time step."""

    hidden_BH: Tensor
    cell_BH: Tensor | None = None
    """Only an LSTM has it."""
    gates: Mapping[str, Tensor] = field(default_factory=dict)
    """(B, H) each, within 0 and 1."""


def rnn_step(cell: nn.RNNBase, x_BF: Tensor, before: Step) -> Step:
    """Elman's network (1990): the new state is a function of the input and of the old one."""
    from_x_BH, from_h_BH = _weighted(cell, x_BF, before.hidden_BH)
    return Step(torch.tanh(from_x_BH + from_h_BH))


def lstm_step(cell: nn.RNNBase, x_BF: Tensor, before: Step) -> Step:
    """Long short-term memory (Hochreiter and Schmidhuber, 1997; Gers and others, 2000)."""
    assert before.cell_BH is not None
    from_x, from_h = _weighted(cell, x_BF, before.hidden_BH)
    in_gate, forget_gate, candidate, out_gate = (from_x + from_h).chunk(4, dim=1)
    i, f, o = torch.sigmoid(in_gate), torch.sigmoid(forget_gate), torch.sigmoid(out_gate)
    cell_BH = f * before.cell_BH + i * torch.tanh(candidate)
    return Step(o * torch.tanh(cell_BH), cell_BH, {"forget": f, "input": i, "output": o})


def gru_step(cell: nn.RNNBase, x_BF: Tensor, before: Step) -> Step:
    """Gated recurrent unit (Cho and others, 2014), with torch's place of the reset gate."""
    from_x, from_h = _weighted(cell, x_BF, before.hidden_BH)
    x_reset, x_update, x_new = from_x.chunk(3, dim=1)
    h_reset, h_update, h_new = from_h.chunk(3, dim=1)
    r, z = torch.sigmoid(x_reset + h_reset), torch.sigmoid(x_update + h_update)
    new_BH = torch.tanh(x_new + r * h_new)
    return Step((1 - z) * new_BH + z * before.hidden_BH, None, {"reset": r, "update": z})


STEPS: dict[str, Callable[[nn.RNNBase, Tensor, Step], Step]] = {
    "RNN_TANH": rnn_step,
    "LSTM": lstm_step,
    "GRU": gru_step,
}
"""By torch's name of what a layer computes."""


def _weighted(cell: nn.RNNBase, x_BF: Tensor, hidden_BH: Tensor) -> tuple[Tensor, Tensor]:
    """Return the weighted input and the weighted state, for all gates beside each other."""
    weights = dict(cell.named_parameters())
    return (
        F.linear(x_BF, weights["weight_ih_l0"], weights["bias_ih_l0"]),
        F.linear(hidden_BH, weights["weight_hh_l0"], weights["bias_hh_l0"]),
    )
