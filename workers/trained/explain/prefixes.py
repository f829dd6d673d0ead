"""What a model says of rows of which it has read only the first time steps.

B rows, T time steps, C outputs.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.errors import InputError, ModelFailedError
from workers.models.sequences import outputs_of


def evenly(last: int, most: int) -> tuple[int, ...]:
    """Return up to `most` numbers from 1 to `last`, about evenly apart, with both ends."""
    if last <= most:
        return tuple(range(1, last + 1))
    return tuple(1 + (last - 1) * place // (most - 1) for place in range(most))


def outputs_after(
    model: nn.Module,
    job: TrainJob,
    sequences: Tensor,
    lengths_B: Tensor | None,
    steps: Sequence[int],
) -> Iterator[Tensor]:
    """Yield the outputs (B, C) for the rows cut after each of these numbers of time steps.

    Raises InputError if the model cannot read shorter rows.
    """
    for step in steps:
        with torch.no_grad():
            yield outputs_of_first(step, model, job, sequences, lengths_B)


def outputs_of_first(
    step: int, model: nn.Module, job: TrainJob, sequences: Tensor, lengths_B: Tensor | None
) -> Tensor:
    """Return the outputs (B, C) for the first time steps of rows.

    A cut row is a row: the reverse direction begins at the cut, and pooling ends there.

    Raises InputError if the model cannot read shorter rows.
    """
    lengths_B = None if lengths_B is None else lengths_B.clamp(max=step)
    try:
        return outputs_of(model, sequences[:, :step].contiguous(), lengths_B, job)
    except ModelFailedError as error:
        raise InputError(
            f"the model cannot read the first {step} time steps of a row alone: {error.cause}",
            "let its forward read any number of time steps",
        ) from error
