"""An LSTM in bf16 on a GPU with one kernel for each time step.

cuDNN takes two kernels for a step, forward and backward, and up to a third of its time in bf16 for
the gradient of the biases (docs/gpu.md has the profile). Here, that gradient is a column of the
product that gives the gradient of the weights. Cell states stay in float32.

B rows, T time steps, F features, H hidden units, G = 4H gates, X = F and a column of ones, filled
up to a multiple of eight numbers, of which matrix units load 16 bytes at once. N = T*B.
"""

import logging
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from workers.models import recurrent

log = logging.getLogger(__name__)
_NUMBERS_PER_LOAD = 8
_MULTIPLE = 16
"""Of what the hidden size must be a multiple: the smallest tile of the matrix units."""

_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@dataclass(frozen=True)
class Tiles:
    """The sizes of a program's tile, its warps, and the loads that it has in flight."""

    rows: int
    units: int
    depth: int
    num_warps: int
    num_stages: int

    def programs(self, rows: int, hidden: int) -> tuple[int, int]:
        """Return how many programs compute a step, by rows and by hidden units."""
        return -(-rows // self.rows), -(-hidden // self.units)

    def arguments(self, hidden: int) -> dict[str, int]:
        """Return what a kernel is compiled for."""
        return {
            "H": hidden,
            "ROWS": self.rows,
            "UNITS": self.units,
            "DEPTH": self.depth,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }


# The fastest of five pairs on an H200. The smaller ones give a small call more programs.
_SMALL = Tiles(64, 16, 64, num_warps=4, num_stages=4), Tiles(64, 32, 64, num_warps=4, num_stages=4)
_LARGE = Tiles(64, 32, 64, num_warps=4, num_stages=3), Tiles(64, 64, 64, num_warps=4, num_stages=4)
_LARGE_FROM = 2**18
"""From so many hidden units of all rows on, a step is computed in large tiles."""


def tiles(rows: int, hidden: int) -> tuple[Tiles, Tiles]:
    """Return the tiles of a step forward and backward. They depend on the shape of a call alone."""
    return _LARGE if rows * hidden >= _LARGE_FROM else _SMALL


class LstmSteps(torch.autograd.Function):
    """The outputs (B, T, H) of an LSTM that begins with zeros."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BTF: Tensor,
        weight_ih_GF: Tensor,
        weight_hh_GH: Tensor,
        bias_ih_G: Tensor,
        bias_hh_G: Tensor,
    ) -> Tensor:
        from workers.models.lstm_kernels import forward_step

        (rows, steps, features), hidden = x_BTF.shape, weight_hh_GH.shape[1]
        x_TBX = _with_ones(x_BTF)
        # State 0 is that before the first step.
        hidden_TBH = x_BTF.new_empty(steps + 1, rows, hidden)
        cell_TBH = torch.empty_like(hidden_TBH, dtype=torch.float32)
        hidden_TBH[0].zero_()
        cell_TBH[0].zero_()
        gates_TBG = x_BTF.new_empty(steps, rows, 4 * hidden)
        tile, _ = tiles(rows, hidden)
        with torch.cuda.device_of(x_BTF):  # type: ignore[no-untyped-call]
            for t in range(steps):
                forward_step[tile.programs(rows, hidden)](
                    x_TBX[t],
                    weight_ih_GF,
                    hidden_TBH[t],
                    weight_hh_GH,
                    bias_ih_G,
                    bias_hh_G,
                    cell_TBH[t],
                    hidden_TBH[t + 1],
                    cell_TBH[t + 1],
                    gates_TBG[t],
                    rows,
                    X=x_TBX.shape[2],
                    F=features,
                    **tile.arguments(hidden),
                )
        ctx.save_for_backward(x_TBX, weight_ih_GF, weight_hh_GH, hidden_TBH, cell_TBH, gates_TBG)
        return hidden_TBH[1:].transpose(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        from workers.models.lstm_kernels import backward_step

        x_TBX, weight_ih_GF, weight_hh_GH, hidden_TBH, cell_TBH, gates_TBG = ctx.saved_tensors
        steps, rows, hidden = gates_TBG.shape[0], gates_TBG.shape[1], weight_hh_GH.shape[1]
        (d_output_BTH,) = gradients
        if d_output_BTH.stride(2) != 1:
            d_output_BTH = d_output_BTH.contiguous()
        # The last is that after the last step: no gradient comes from there.
        d_gates_TBG = gates_TBG.new_empty(steps + 1, rows, 4 * hidden)
        d_gates_TBG[steps].zero_()
        d_cell_BH = torch.zeros_like(cell_TBH[0])
        _, tile = tiles(rows, hidden)
        with torch.cuda.device_of(gates_TBG):  # type: ignore[no-untyped-call]
            for t in reversed(range(steps)):
                backward_step[tile.programs(rows, hidden)](
                    d_output_BTH[:, t],
                    d_output_BTH.stride(0),
                    d_gates_TBG[t + 1],
                    weight_hh_GH,
                    gates_TBG[t],
                    cell_TBH[t],
                    cell_TBH[t + 1],
                    d_cell_BH,
                    d_gates_TBG[t],
                    rows,
                    **tile.arguments(hidden),
                )
        d_gates_NG = d_gates_TBG[:steps].flatten(0, 1)
        features = weight_ih_GF.shape[1]
        d_weight_GX = d_gates_NG.t() @ x_TBX.flatten(0, 1)
        d_bias_G = d_weight_GX[:, features]
        d_x_BTF = None
        if ctx.needs_input_grad[0]:
            d_x_BTF = (d_gates_NG @ weight_ih_GF).view(steps, rows, features).transpose(0, 1)
        d_weight_hh_GH = d_gates_NG.t() @ hidden_TBH[:steps].flatten(0, 1)
        return d_x_BTF, d_weight_GX[:, :features], d_weight_hh_GH, d_bias_G, d_bias_G


def _with_ones(x_BTF: Tensor) -> Tensor:
    """Return the inputs by time step, a column of ones, and zeros up to a multiple of eight."""
    rows, steps, features = x_BTF.shape
    width = -(-(features + 1) // _NUMBERS_PER_LOAD) * _NUMBERS_PER_LOAD
    x_TBX = x_BTF.new_zeros(steps, rows, width)
    x_TBX[..., :features] = x_BTF.transpose(0, 1)
    x_TBX[..., features] = 1.0
    return x_TBX


def run_cell(cell: nn.Module, x_BTF: Tensor) -> Tensor:
    """Return the outputs (B, T, H) of a layer in one direction.

    Without gradients, as in an evaluation, cuDNN is as good and needs no launches by the host.
    """
    if not (_is_possible(cell) and torch.is_grad_enabled()):
        return recurrent.run_cell(cell, x_BTF)
    weights = (getattr(cell, name) for name in _WEIGHTS)
    outputs_BTH: Tensor = LstmSteps.apply(x_BTF, *weights)
    return outputs_BTH


def _is_possible(cell: nn.Module) -> bool:
    return isinstance(cell, nn.LSTM) and cell.hidden_size % _MULTIPLE == 0


def can_run(model: nn.Module) -> bool:
    """Take a small step of each LSTM layer of a model, and return whether that was possible.

    Triton needs the C compiler of the machine, and not every machine has one.
    """
    cells = [cell for cell in model.modules() if _is_possible(cell)]
    try:
        from workers.models.lstm_kernels import COMPILE_ERRORS
    except ImportError as error:
        return _warn(error)
    try:
        for cell in cells:
            weight_GF = cell.get_parameter(_WEIGHTS[0])
            x_BTF = weight_GF.new_zeros(1, 1, weight_GF.shape[1])
            torch.autograd.grad(run_cell(cell, x_BTF).sum(), weight_GF)
    except COMPILE_ERRORS as error:
        return _warn(error)
    return True


def _warn(error: Exception) -> bool:
    log.warning("cuDNN computes the LSTM, because Triton cannot compile here: %s", error)
    return False
