"""Dropout inside a model of the user's own, with random numbers from the step's own generators.

torch's dropout draws from the process-wide generator, whose numbers depend on what else the process
has computed. B rows of the batch.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from workers.models.noise import NoiseSource

_ELEMENTS: tuple[Callable[..., Any], ...] = (F.dropout, torch.dropout, torch.dropout_)
_CHANNELS: tuple[Callable[..., Any], ...] = (
    F.dropout1d,
    F.dropout2d,
    F.dropout3d,
    torch.feature_dropout,
    torch.feature_dropout_,
)
"""They drop whole channels: all numbers of a row that have the same place in its first axis."""
_ALWAYS_IN_PLACE = (torch.dropout_, torch.feature_dropout_)
_UNBATCHED_DIMS = {F.dropout1d: 2, F.dropout3d: 4}
"""The number of axes at which these functions take the first axis for that of the channels."""


class StepDropout(TorchFunctionMode):
    """Within this context, and in this thread, dropout draws from the generators of a batch.

    Without generators, which is how a model is evaluated, nothing is dropped.
    """

    def __init__(self, noise: NoiseSource | None, num_rows: int) -> None:
        """`num_rows`: B, for which the noise draws."""
        super().__init__()
        self._noise, self._num_rows = noise, num_rows

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in _ELEMENTS or func in _CHANNELS:
            return self._dropout(func, *args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(
        self,
        func: Callable[..., Any],
        input: Tensor,
        p: float = 0.5,
        training: bool | None = None,
        inplace: bool = False,
        train: bool = True,
    ) -> Tensor:
        """Do what `func` does. `training` is what F calls the argument, and `train` what torch
        does."""
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
        is_on = train if training is None else training
        if self._noise is None or not is_on or p == 0.0:
            return input
        shape = input.shape
        if func in _CHANNELS:
            axes = 1 if input.dim() == _UNBATCHED_DIMS.get(func) else 2
            shape = torch.Size([*shape[:axes], *[1] * (input.dim() - axes)])
        keep = _keep(shape, p, self._noise, self._num_rows).to(input.dtype)
        dropped = input * keep / (1.0 - p) if p < 1.0 else input * 0.0
        return input.copy_(dropped) if inplace or func in _ALWAYS_IN_PLACE else dropped


def _keep(shape: torch.Size, p: float, noise: NoiseSource, num_rows: int) -> Tensor:
    """Return what of a tensor is kept."""
    if shape and shape[0] == num_rows:
        return noise.uniform(*shape[1:]) >= p
    # The rows are not the first axis, or each row has several places in it.
    numbers = math.prod(shape)
    return noise.uniform(-(-numbers // num_rows)).flatten()[:numbers].view(shape) >= p
