"""The kernels of an LSTM in bf16, compiled for the GPU."""

import copy

import pytest
import torch
from torch import Tensor, nn

from workers.models import lstm_steps, recurrent
from workers.models.compute_copy import ComputeCopy

GPU = torch.device("cuda")


def gradients_of(cell: nn.LSTM, x_BTF: Tensor, factors_BTH: Tensor, run: object) -> list[Tensor]:
    """Return the outputs and all gradients, in float32 on the CPU."""
    x_BTF = x_BTF.clone().requires_grad_()
    outputs = run(cell, x_BTF)  # type: ignore[operator]
    inputs = [x_BTF, *cell.parameters()]
    found = [outputs, *torch.autograd.grad((outputs.float() * factors_BTH).sum(), inputs)]
    return [value.detach().float().cpu() for value in found]


@pytest.mark.parametrize(("rows", "hidden"), [(64, 128), (512, 512), (37, 48)])
def test_outputs_and_gradients_are_those_of_a_cpu_up_to_rounding(rows: int, hidden: int) -> None:
    torch.manual_seed(0)
    cell = nn.LSTM(28, hidden, batch_first=True)
    x_BTF, factors_BTH = torch.randn(rows, 28, 28), torch.randn(rows, 28, hidden)
    wanted = gradients_of(cell, x_BTF, factors_BTH, recurrent.run_cell)
    on_gpu = copy.deepcopy(cell).to(GPU).bfloat16()
    found = gradients_of(on_gpu, x_BTF.to(GPU).bfloat16(), factors_BTH.to(GPU), lstm_steps.run_cell)
    distances = [
        float((one - other).norm() / other.norm()) for one, other in zip(found, wanted, strict=True)
    ]
    print(distances)
    assert max(distances) < 2e-2


def test_the_copy_in_bf16_uses_them() -> None:
    from workers.gpu.self_test import random_digits_job

    job = random_digits_job(512, "bf16")
    model = recurrent.build_model(job.model, job.data, 0).to(GPU)
    assert ComputeCopy(model, "bf16", GPU).module.run_cell is lstm_steps.run_cell
    assert ComputeCopy(model, "fp32", GPU).module.run_cell is recurrent.run_cell
