"""What must be the same after a call of a model as before: see what the call has changed."""

import random

import numpy as np
import torch
from torch import Tensor, nn

from workers.models.own.samples import Sample


class Watch:
    """The state of a model, its input and the process before a call."""

    def __init__(self, model: nn.Module, sample: Sample) -> None:
        self._model, self._sample = model, sample
        self._buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
        self._parameters = {
            name: parameter.detach().clone() for name, parameter in model.named_parameters()
        }
        self._input = [tensor.clone() for tensor in _tensors(sample)]
        self._generators = _generators()

    def changed_buffer(self) -> str:
        """Return the name of a buffer that was changed or is new; empty if there is none."""
        return _changed(self._buffers, dict(self._model.named_buffers()))

    def changed_parameter(self) -> str:
        """Return the name of a parameter that was changed or is new; empty if there is none."""
        return _changed(self._parameters, dict(self._model.named_parameters()))

    def changed_input(self) -> bool:
        pairs = zip(self._input, _tensors(self._sample), strict=True)
        return not all(torch.equal(before, now) for before, now in pairs)

    def used_generator(self) -> str:
        """Return whose process-wide generator was used; empty if none was."""
        now = _generators()
        return next((name for name, state in self._generators.items() if now[name] != state), "")


def _tensors(sample: Sample) -> list[Tensor]:
    return [sample.x] if sample.lengths_B is None else [sample.x, sample.lengths_B]


def _changed(before: dict[str, Tensor], now: dict[str, Tensor]) -> str:
    for name in {**before, **now}:
        if name not in before or name not in now or not _same(before[name], now[name]):
            return name
    return ""


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b.detach())


def _generators() -> dict[str, object]:
    _, keys, position, *_ = np.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (np.asarray(keys).tobytes(), position),
        "Python": random.getstate(),
    }
