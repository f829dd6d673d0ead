"""Compare the kernels of an LSTM with torch's LSTM, in Triton's interpreter on a CPU.

Prints the relative distances as JSON. It is a process of its own, since Triton decides once in a
process whether it interprets.
"""

import json
import os

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch import Tensor, nn

from workers.models import lstm_steps

SIZES = [(5, 3, 3, 16), (70, 2, 28, 48), (3, 1, 40, 16)]
"""Rows, time steps, features, hidden units."""


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def distances(rows: int, steps: int, features: int, hidden: int) -> list[float]:
    cell = nn.LSTM(features, hidden, batch_first=True)
    x_BTF, factors_BTH = torch.randn(rows, steps, features), torch.randn(rows, steps, hidden)
    x_BTF.requires_grad_()
    inputs = [x_BTF, *cell.parameters()]
    compared = []
    for outputs in (lstm_steps.run_cell(cell, x_BTF), cell(x_BTF)[0]):
        compared.append([outputs, *torch.autograd.grad((outputs * factors_BTH).sum(), inputs)])
    return [distance(found, wanted) for found, wanted in zip(*compared, strict=True)]


torch.manual_seed(0)
print(json.dumps([distances(*sizes) for sizes in SIZES]))
