"""The reasons for which the trial refuses a model, each with its cure."""

from typing import Any

import torch
from torch import Tensor, nn

from workers.errors import ModelError

_FUSED = "or do without equal bits: --set training.gradients=fused"
_NORMS = "take nn.LayerNorm or nn.GroupNorm, which treat each row alone, instead of {}"


def no_lengths(fewest: int, most: int) -> ModelError:
    return ModelError(
        f"the model's forward takes no lengths, but the sequences have {fewest} to {most} steps",
        "let it take (x, lengths_B), and leave out of its result what is behind each row's end",
    )


def wrong_output(outputs: Any, shape: tuple[int, int]) -> ModelError | None:
    """Return an error unless the outputs are a tensor of this shape, in float32."""
    if not isinstance(outputs, Tensor):
        what = type(outputs).__name__
        cure = "return only the tensor with a row for each sequence"
        return ModelError(f"the model's forward returns a {what}, not a tensor", cure)
    if tuple(outputs.shape) != shape:
        return ModelError(
            f"the model's output has the shape {tuple(outputs.shape)}, not {shape}",
            f"return one row of num_outputs={shape[1]} numbers for each sequence",
        )
    if outputs.dtype != torch.float32:
        return ModelError(
            f"the model's output is {str(outputs.dtype).removeprefix('torch.')}, not float32",
            "return the numbers as they come from its last layer",
        )
    return None


def is_detached() -> ModelError:
    return ModelError(
        "the model's output does not depend on its parameters: no gradient would flow",
        "leave out .detach(), .data and torch.no_grad() on the way from the weights to the output",
    )


def weights_differ() -> ModelError:
    return ModelError(
        "the model's first weights are others each time it is built",
        "draw them with torch, numpy or random without a generator of your own: rnnjob seeds these",
    )


def changed_buffer(model: nn.Module, name: str) -> ModelError:
    owner = model.get_submodule(name.rpartition(".")[0])
    kind = f"nn.{type(owner).__name__}"
    norm = isinstance(owner, nn.modules.batchnorm._NormBase)
    return ModelError(
        f"forward changes the buffer {name}: the result would depend on the order of the rows, and "
        "a checkpoint, which holds parameters only, would lose it",
        _NORMS.format(kind) if norm else "keep in forward only what is computed from its arguments",
    )


def changed_parameter(name: str) -> ModelError:
    return ModelError(
        f"forward changes the parameter {name}: only the optimizer may",
        "compute with a changed copy of it instead",
    )


def changed_input() -> ModelError:
    return ModelError(
        "forward changes its arguments: the rows would be others in the next epoch",
        "use x * 2 instead of x.mul_(2) and x *= 2, or begin with x = x.clone()",
    )


def used_generator(model: nn.Module, owner: str) -> ModelError:
    layers = [
        f"{name or 'the model'} ({type(layer).__name__})"
        for name, layer in model.named_modules()
        if isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and layer.dropout
    ]
    cure = (
        f"set the dropout of {layers[0]} to 0, and put nn.Dropout behind it"
        if layers
        else "draw no random numbers in forward but those of nn.Dropout and F.dropout"
    )
    return ModelError(
        f"forward draws from {owner}'s process-wide generator, whose numbers depend on what else "
        "the process does",
        f"{cure}; {_FUSED}",
    )


def passes_differ() -> ModelError:
    return ModelError(
        "two passes over the same rows with the same weights differ",
        f"let forward depend on nothing but its arguments and the weights; {_FUSED}",
    )


def depends_on_neighbours(model: nn.Module) -> ModelError:
    norms = (
        type(layer).__name__
        for layer in model.modules()
        if isinstance(layer, nn.modules.batchnorm._BatchNorm)
    )
    norm = next(norms, None)
    cure = (
        _NORMS.format(f"nn.{norm}")
        if norm
        else "compute each row from itself: no mean, maximum or attention over the first axis"
    )
    return ModelError(
        "a row's output depends on the rows beside it, which depend on how rows are divided",
        f"{cure}; {_FUSED}",
    )


def depends_on_padding(difference: float) -> ModelError:
    return ModelError(
        f"the output changes by {difference:.2g} if more padding follows the sequences",
        "use the lengths: mask what is behind a row's end after each layer that sees other steps, "
        "and take the last step at lengths_B - 1",
    )


def sparse_gradient(name: str) -> ModelError:
    return ModelError(f"the gradient of {name} is sparse", "build nn.Embedding with sparse=False")


def no_gradient(names: list[str]) -> str:
    """Return a warning."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"the model's parameter {names[0]}{more} never gets a gradient: nothing trains it"
