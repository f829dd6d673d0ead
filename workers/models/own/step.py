"""One call of a user's own model: forward of a batch. B rows, T time steps, F features."""

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from workers.errors import JobError, ModelFailedError
from workers.models.noise import NoiseSource
from workers.models.own.blame import described, line_of
from workers.models.own.step_dropout import StepDropout

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def forward(
    model: nn.Module, x: Tensor, lengths_B: Tensor | None, noise: NoiseSource | None
) -> Tensor:
    """Return the outputs (B, num_outputs) of a model.

    Args:
        x: vectors (B, T, F), or tokens (B, T).
        lengths_B: None if all rows of the data set are equally long.
        noise: the generators from which dropout draws. Without it, nothing is dropped.

    Raises ModelFailedError if the model's code raises an error.
    """
    num_rows, num_steps = x.shape[:2]
    with StepDropout(noise, num_rows):
        try:
            if not takes_lengths(model):
                return model(x)  # type: ignore[no-any-return]
            if lengths_B is None:
                lengths_B = torch.full((num_rows,), num_steps, dtype=torch.int64, device=x.device)
            return model(x, lengths_B)  # type: ignore[no-any-return]
        except (JobError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise ModelFailedError(
                f"the model raised an error: {described(error)}", _cure(error)
            ) from error


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within this context, a model is in the mode of an evaluation. Threads may share it."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def _cure(error: Exception) -> str:
    if "captur" in str(error):  # a CUDA graph cannot record what the host has to wait for
        return (
            "on a GPU, forward must not ask for the value of a tensor (.item(), if, a boolean "
            "index, pack_padded_sequence): take torch.where and gather"
        )
    return f"correct it: {line_of(error) or 'see the logs of the workers'}"


def takes_lengths(model: nn.Module) -> bool:
    """Return whether forward takes the lengths after the sequences.

    A second argument that need not be given takes them only if its name says so.
    """
    return _takes_lengths(type(model).forward)


@functools.lru_cache(maxsize=64)
def _takes_lengths(function: Callable[..., Any]) -> bool:
    try:
        parameters = list(inspect.signature(function).parameters.values())[2:]
    except (ValueError, TypeError):
        return False
    if not parameters or parameters[0].kind not in _BY_POSITION:
        return False
    return parameters[0].default is inspect.Parameter.empty or "len" in parameters[0].name
