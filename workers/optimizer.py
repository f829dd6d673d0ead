"""Optimizers by name, and learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Iterable

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

    `foreach` is off, so that the update of one element never depends on its neighbours.
    """
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters,
            config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            foreach=False,
        )
    cls = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return cls(parameters, config.lr, weight_decay=config.weight_decay, foreach=False)


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


def clip_(gradient_N: Tensor, limit: float) -> float:
    """Scale the gradient in place to an L2 norm of at most `limit`; 0 means no limit.

    Returns the norm before scaling.
    """
    norm = float(torch.linalg.vector_norm(gradient_N))
    if 0 < limit < norm:
        gradient_N.mul_(limit / norm)
    return norm
