"""The kernels of one time step of an LSTM, forward and backward, in Triton.

Each program computes one tile, some rows by some hidden units, and adds the products of each number
in one fixed order. Nothing is tuned at run time, and no two programs write the same number: the
bits are the same each time. Sums, cell states and the gates of a step are float32.

B rows, F features, of which rows are X numbers apart, H hidden units, G = 4H gates in torch's order
(input, forget, cell, output).
"""

import subprocess

import triton
import triton.language as tl
from triton.errors import TritonError

COMPILE_ERRORS = (TritonError, OSError, RuntimeError, subprocess.SubprocessError)
"""What a first call raises where Triton cannot compile: without a C compiler, for example."""
_INPUT_DEPTH = tl.constexpr(32)
"""The features that a program multiplies at once. MNIST's rows have 28."""
_SIZES = ["num_rows", "output_stride"]
"""Arguments for whose values Triton shall not compile variants of the kernels."""


@triton.jit
def _tanh(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _tile(pointer, row, column, num_rows, num_columns, STRIDE: tl.constexpr):
    """Load the numbers at these rows and columns; zero where there are none."""
    is_inside = (row[:, None] < num_rows) & (column[None, :] < num_columns)
    return tl.load(pointer + row[:, None] * STRIDE + column[None, :], is_inside, 0.0)


@triton.jit
def _add_products(
    i, f, g, o, left, LEFT_STRIDE: tl.constexpr, weight_GK, row, unit, num_rows,
    WIDTH: tl.constexpr, H: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Add left @ weight_GK.T, over WIDTH numbers, to the sums of the four gates of a tile."""
    for start in range(0, WIDTH, DEPTH):
        k = start + tl.arange(0, DEPTH)
        part = _tile(left, row, k, num_rows, WIDTH, LEFT_STRIDE)
        place = weight_GK + unit[None, :] * WIDTH + k[:, None]
        is_inside = (unit[None, :] < H) & (k[:, None] < WIDTH)
        i = tl.dot(part, tl.load(place, is_inside, 0.0), i, input_precision="ieee")
        f = tl.dot(part, tl.load(place + H * WIDTH, is_inside, 0.0), f, input_precision="ieee")
        g = tl.dot(part, tl.load(place + 2 * H * WIDTH, is_inside, 0.0), g, input_precision="ieee")
        o = tl.dot(part, tl.load(place + 3 * H * WIDTH, is_inside, 0.0), o, input_precision="ieee")
    return i, f, g, o


@triton.jit
def _bias(bias_ih_G, bias_hh_G, gate, unit, H: tl.constexpr):
    place, is_inside = gate * H + unit, unit < H
    first = tl.load(bias_ih_G + place, is_inside, 0.0).to(tl.float32)
    return (first + tl.load(bias_hh_G + place, is_inside, 0.0).to(tl.float32))[None, :]


@triton.jit(do_not_specialize=_SIZES)
def forward_step(
    x_BX, weight_ih_GF, hidden_BH, weight_hh_GH, bias_ih_G, bias_hh_G, cell_BH,
    next_hidden_BH, next_cell_BH, gates_BG, num_rows,
    X: tl.constexpr, F: tl.constexpr, H: tl.constexpr,
    ROWS: tl.constexpr, UNITS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Compute the hidden and the cell state of the next step, and keep the gates."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    i = tl.zeros((ROWS, UNITS), tl.float32)
    f = tl.zeros((ROWS, UNITS), tl.float32)
    g = tl.zeros((ROWS, UNITS), tl.float32)
    o = tl.zeros((ROWS, UNITS), tl.float32)
    i, f, g, o = _add_products(
        i, f, g, o, x_BX, X, weight_ih_GF, row, unit, num_rows, F, H, _INPUT_DEPTH
    )  # fmt: skip
    i, f, g, o = _add_products(
        i, f, g, o, hidden_BH, H, weight_hh_GH, row, unit, num_rows, H, H, DEPTH
    )  # fmt: skip
    i = tl.sigmoid(i + _bias(bias_ih_G, bias_hh_G, 0, unit, H))
    f = tl.sigmoid(f + _bias(bias_ih_G, bias_hh_G, 1, unit, H))
    g = _tanh(g + _bias(bias_ih_G, bias_hh_G, 2, unit, H))
    o = tl.sigmoid(o + _bias(bias_ih_G, bias_hh_G, 3, unit, H))
    is_inside = (row[:, None] < num_rows) & (unit[None, :] < H)
    cell = f * _tile(cell_BH, row, unit, num_rows, H, H) + i * g
    place = row[:, None] * H + unit[None, :]
    tl.store(next_cell_BH + place, cell, is_inside)
    tl.store(next_hidden_BH + place, o * _tanh(cell), is_inside)
    gate = gates_BG + row[:, None] * (4 * H) + unit[None, :]
    tl.store(gate, i, is_inside)
    tl.store(gate + H, f, is_inside)
    tl.store(gate + 2 * H, g, is_inside)
    tl.store(gate + 3 * H, o, is_inside)


@triton.jit(do_not_specialize=_SIZES)
def backward_step(
    d_output_BH, output_stride, d_later_BG, weight_hh_GH, gates_BG, cell_BH, next_cell_BH,
    d_cell_BH, d_gates_BG, num_rows,
    H: tl.constexpr, ROWS: tl.constexpr, UNITS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Compute the gradient of a step's gates, before their sigmoid or tanh.

    `d_later_BG`: that of the step after it. `d_cell_BH`: the gradient of the cell state after this
    step; it becomes that of the state before.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    unit = tl.program_id(1) * UNITS + tl.arange(0, UNITS)
    is_inside = (row[:, None] < num_rows) & (unit[None, :] < H)
    place = d_output_BH + row[:, None] * output_stride + unit[None, :]
    d_hidden = tl.load(place, is_inside, 0.0).to(tl.float32)
    for start in range(0, 4 * H, DEPTH):
        gate = start + tl.arange(0, DEPTH)
        d_later = _tile(d_later_BG, row, gate, num_rows, 4 * H, 4 * H)
        weight = _tile(weight_hh_GH, gate, unit, 4 * H, H, H)
        d_hidden = tl.dot(d_later, weight, d_hidden, input_precision="ieee")
    i = _tile(gates_BG, row, unit, num_rows, H, 4 * H).to(tl.float32)
    f = _tile(gates_BG + H, row, unit, num_rows, H, 4 * H).to(tl.float32)
    g = _tile(gates_BG + 2 * H, row, unit, num_rows, H, 4 * H).to(tl.float32)
    o = _tile(gates_BG + 3 * H, row, unit, num_rows, H, 4 * H).to(tl.float32)
    tanh_cell = _tanh(_tile(next_cell_BH, row, unit, num_rows, H, H))
    d_cell = _tile(d_cell_BH, row, unit, num_rows, H, H)
    d_cell += d_hidden * o * (1 - tanh_cell * tanh_cell)
    cell = _tile(cell_BH, row, unit, num_rows, H, H)
    tl.store(d_cell_BH + row[:, None] * H + unit[None, :], d_cell * f, is_inside)
    gate = d_gates_BG + row[:, None] * (4 * H) + unit[None, :]
    tl.store(gate, d_cell * g * i * (1 - i), is_inside)
    tl.store(gate + H, d_cell * cell * f * (1 - f), is_inside)
    tl.store(gate + 2 * H, d_cell * i * (1 - g * g), is_inside)
    tl.store(gate + 3 * H, d_hidden * tanh_cell * o * (1 - o), is_inside)
