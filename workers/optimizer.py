"""Optimizers by name, and learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from workers.config import OptimizerConfig

_WARM_UP = 0.3
"""The share of the steps of `one-cycle` in which the learning rate rises."""
_FIRST_FACTOR, _LAST_FACTOR = 1 / 25, 1e-4
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
"""Of Adam and AdamW, as torch has them (Kingma and Ba, 2014; Loshchilov and Hutter, 2019)."""
_COUNT, _MEAN, _SQUARE, _MOMENTUM = "step", "exp_avg", "exp_avg_sq", "momentum_buffer"
"""What is kept, by torch's names: those in the checkpoints."""


class Optimizer:
    """SGD, Adam or AdamW: the fused kernels of torch's own optimizers, and their bits.

    A kernel updates all weights in one pass. Every worker does so, with one intra-op thread on a
    CPU, and so to the same bits. The classes in torch.optim are not used because their first step
    imports torch's compiler, which takes each process more than a second.
    """

    def __init__(self, config: OptimizerConfig, parameters: Iterable[nn.Parameter]) -> None:
        """`parameters`: of float32, all on one device."""
        self._config = config
        self._parameters: list[Tensor] = list(parameters)
        self._kept: dict[str, list[Tensor]] = {}
        """What the steps so far have left for each parameter; nothing before the first one."""

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the parameters by their gradients, which all have, at a learning rate."""
        if not self._parameters:
            return
        gradients = [each.grad for each in self._parameters if each.grad is not None]
        assert len(gradients) == len(self._parameters)
        is_first = not self._kept
        if is_first:
            self._kept = self._empty()
        if self._config.name == "sgd":
            self._sgd(lr, gradients, is_first)
        else:
            self._adam(lr, gradients)

    def _empty(self) -> dict[str, list[Tensor]]:
        """Return what is kept before the first step. A first momentum is the gradient itself."""
        parameters, config = self._parameters, self._config
        if config.name == "sgd":
            return {_MOMENTUM: [torch.empty_like(p) for p in parameters]} if config.momentum else {}
        return {
            **{name: [torch.zeros_like(p) for p in parameters] for name in (_MEAN, _SQUARE)},
            _COUNT: [torch.zeros((), device=p.device) for p in parameters],
        }

    def _sgd(self, lr: float, gradients: list[Tensor], is_first: bool) -> None:
        torch._fused_sgd_(
            self._parameters,
            gradients,
            self._kept.get(_MOMENTUM, []),
            weight_decay=self._config.weight_decay,
            momentum=self._config.momentum,
            lr=lr,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=is_first and bool(self._kept),
        )

    def _adam(self, lr: float, gradients: list[Tensor]) -> None:
        torch._foreach_add_(self._kept[_COUNT], 1)
        update = torch._fused_adam_ if self._config.name == "adam" else torch._fused_adamw_
        update(
            self._parameters,
            gradients,
            self._kept[_MEAN],
            self._kept[_SQUARE],
            [],
            self._kept[_COUNT],
            lr=lr,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            weight_decay=self._config.weight_decay,
            eps=_EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def tensors(self, names: Sequence[str]) -> dict[str, Tensor]:
        """Return copies on the CPU of what is kept, named `<parameter name>/<key>`.

        `names`: those of the parameters, in their order.
        """
        return {
            f"{name}/{key}": tensor.detach().cpu().clone()
            for key, tensors in self._kept.items()
            for name, tensor in zip(names, tensors, strict=True)
        }

    def load(self, names: Sequence[str], tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        device = self._parameters[0].device if self._parameters else None
        keys = dict.fromkeys(name.rpartition("/")[2] for name in tensors)
        self._kept = {
            key: [tensors[f"{name}/{key}"].to(device, copy=True) for name in names] for key in keys
        }


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
