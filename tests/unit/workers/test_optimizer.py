"""The optimizers have the bits of torch's own, and do not import torch's compiler."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from workers.config import OptimizerConfig
from workers.optimizer import Optimizer

_TORCHS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
_CASES = [("sgd", 0.0), ("sgd", 0.9), ("adam", 0.0), ("adamw", 0.0)]
_RATES = [0.25, 0.125, 0.5, 0.01]
_NAMES = ["weight", "bias"]


def config_of(name: str, momentum: float) -> OptimizerConfig:
    return OptimizerConfig(name=name, lr=0.25, weight_decay=0.125, momentum=momentum)


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(37, 5)


def give_gradients(module: nn.Linear, number: int) -> None:
    generator = torch.Generator().manual_seed(number)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)


def take_steps(module: nn.Linear, optimizer: Optimizer, numbers: range) -> None:
    for number in numbers:
        give_gradients(module, number)
        optimizer.step(_RATES[number])


@pytest.mark.parametrize(("name", "momentum"), _CASES)
def test_weights_and_what_is_kept_are_those_of_torch(name: str, momentum: float) -> None:
    ours, theirs = model(), model()
    optimizer = Optimizer(config_of(name, momentum), ours.parameters())
    more: dict[str, Any] = {"momentum": momentum} if name == "sgd" else {}
    torchs = _TORCHS[name](theirs.parameters(), lr=0.25, weight_decay=0.125, fused=True, **more)
    for number, rate in enumerate(_RATES):
        take_steps(ours, optimizer, range(number, number + 1))
        give_gradients(theirs, number)
        torchs.param_groups[0]["lr"] = rate
        torchs.step()
    assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
    kept = {
        f"{_NAMES[index]}/{key}": value
        for index, state in torchs.state_dict()["state"].items()
        for key, value in state.items()
        if value is not None
    }
    tensors = optimizer.tensors(_NAMES)
    assert tensors.keys() == kept.keys()
    assert all(torch.equal(tensors[key], kept[key]) for key in kept)


@pytest.mark.parametrize(("name", "momentum"), _CASES)
def test_another_optimizer_goes_on_from_what_one_kept(name: str, momentum: float) -> None:
    first = model()
    optimizer = Optimizer(config_of(name, momentum), first.parameters())
    take_steps(first, optimizer, range(2))
    second = copy.deepcopy(first)
    again = Optimizer(config_of(name, momentum), second.parameters())
    tensors = optimizer.tensors(_NAMES)
    again.load(_NAMES, tensors)
    before = {key: tensor.clone() for key, tensor in tensors.items()}
    for module, each in ((first, optimizer), (second, again)):
        take_steps(module, each, range(2, 4))
    assert torch.equal(first.weight, second.weight)
    assert all(torch.equal(tensors[key], before[key]) for key in before)  # copies, both ways


def test_a_model_without_trained_parameters_has_nothing_to_update() -> None:
    optimizer = Optimizer(config_of("adamw", 0.0), [])
    optimizer.step(0.1)
    optimizer.load([], optimizer.tensors([]))
    assert optimizer.tensors([]) == {}


def test_no_process_imports_torchs_compiler() -> None:
    """It would take every worker more than a second."""
    program = (
        "import sys, torch\n"
        "from workers.config import OptimizerConfig\n"
        "from workers.optimizer import Optimizer\n"
        "parameter = torch.nn.Parameter(torch.zeros(2))\n"
        "parameter.grad = torch.ones(2)\n"
        "Optimizer(OptimizerConfig(name='adamw', lr=1, weight_decay=0, momentum=0),"
        " [parameter]).step(1.0)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
