"""Rows of random numbers in the form of a data set, for tests of what computes with them.

B rows, T time steps, F features.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.data.kinds import NUM_SPECIAL_TOKENS, ClassTarget, DataShape, ImageInput, TokenInput
from workers.data.rows import Batch


def random_batch(data: DataShape, num_rows: int, max_steps: int, device: torch.device) -> Batch:
    """Return rows that are a function of the arguments alone, on a device.

    Sequences have up to `max_steps` time steps; images are not shortened.
    """
    source, lengths = data.input, None
    if isinstance(source, ImageInput):
        size: tuple[int, ...] = (source.height, source.width)
    else:
        steps = min(source.max_length, max_steps)
        size = (steps,) if isinstance(source, TokenInput) else (steps, source.num_features)
        if source.min_length < source.max_length:
            fewest = min(source.min_length, steps)
            lengths = fewest + torch.arange(num_rows) % (steps - fewest + 1)
    number = num_rows * int(np.prod(size))
    # numpy promises these words for ever.
    words = np.random.Philox(num_rows).random_raw(number + num_rows)
    inputs, targets = np.split(words, [number])
    batch = Batch(_inputs(inputs, data).view(num_rows, *size), _targets(targets, data), lengths)
    return Batch(
        batch.inputs.to(device),
        batch.targets_N.to(device),
        None if lengths is None else lengths.to(device),
    )


def _inputs(words: NDArray[np.uint64], data: DataShape) -> Tensor:
    source = data.input
    if isinstance(source, ImageInput):
        return torch.from_numpy((words >> np.uint64(56)).astype(np.uint8))
    if isinstance(source, TokenInput):
        kinds = np.uint64(max(1, len(source.vocabulary)))
        return torch.from_numpy((words % kinds).astype(np.int32) + NUM_SPECIAL_TOKENS - 1)
    return torch.from_numpy(_within_one(words))


def _targets(words: NDArray[np.uint64], data: DataShape) -> Tensor:
    if isinstance(data.target, ClassTarget):
        return torch.from_numpy((words % np.uint64(data.target.num_outputs)).astype(np.int64))
    return torch.from_numpy(_within_one(words))


def _within_one(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return numbers in [-1, 1)."""
    return np.asarray((words >> np.uint64(40)) / 2**23 - 1, dtype=np.float32)
