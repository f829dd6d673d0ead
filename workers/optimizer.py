"""Optimizers by name, and learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from workers.config import OptimizerConfig

_WARM_UP = 0.3
"""The share of the steps of `one-cycle` in which the learning rate rises."""
_FIRST_FACTOR, _LAST_FACTOR = 1 / 25, 1e-4


def build_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter]
) -> torch.optim.Optimizer:
    """Return torch's own optimizer.

    The update of one element must not depend on its neighbours. So `foreach` is off; on a GPU the
    fused form, one kernel that treats each element alike, takes the place of dozens of kernels.
    """
    parameters = list(parameters)
    is_on_gpu = any(parameter.is_cuda for parameter in parameters)
    how: dict[str, Any] = {
        "weight_decay": config.weight_decay,
        **({"fused": True} if is_on_gpu else {"foreach": False}),
    }
    if config.name == "sgd":
        return torch.optim.SGD(parameters, config.lr, momentum=config.momentum, **how)
    cls = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return cls(parameters, config.lr, **how)


def lr_factor(schedule: str, step: int, num_steps: int) -> float:
    """Return the share of the peak learning rate for step `step` (from 0) of `num_steps`.

    `one-cycle` (Smith and Topin, 2018): a cosine from 1/25 to 1 over the first 30% of the steps,
    then a cosine down to 1e-4. `cosine` (Loshchilov and Hutter, 2017): a cosine from 1 to 0 without
    restarts.
    """
    if schedule == "constant":
        return 1.0
    done = step / num_steps
    if schedule == "cosine":
        return _cosine(1.0, 0.0, done)
    if done < _WARM_UP:
        return _cosine(_FIRST_FACTOR, 1.0, done / _WARM_UP)
    return _cosine(1.0, _LAST_FACTOR, (done - _WARM_UP) / (1 - _WARM_UP))


def _cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * share)) / 2


def clip_(gradient_N: Tensor, limit: float) -> Tensor:
    """Scale the gradient in place to an L2 norm of at most `limit`; 0 means no limit.

    Returns the norm before scaling, a tensor without axes: on a GPU, nothing here waits for it.
    """
    norm: Tensor = torch.linalg.vector_norm(gradient_N)
    if limit > 0:
        factor = (limit / norm.double()).clamp(max=1.0)
        gradient_N.mul_(factor.to(gradient_N.dtype))
    return norm
