"""Call what makes a user's own model, and check what it returns."""

import copy
import difflib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from workers.errors import ModelError
from workers.models.own.importing import explained, seeded

OFFERED = ("num_features", "num_outputs", "vocabulary_size", "max_length")
"""What a model can be told of the data, by the names of the arguments."""
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Factory:
    """What makes the model of a job."""

    class_path: str
    function: Callable[..., Any]
    offered: Mapping[str, int]
    """What is known of the data, by the names of OFFERED. Not all data have all of them."""
    init_args: Mapping[str, Any]
    seed: int

    def build(self) -> nn.Module:
        """Return a new model. Its first weights are the same each time. Raises ModelError."""
        arguments = self.arguments()
        with explained(f"the model {self.class_path} cannot be built"), seeded(self.seed):
            model = self.function(**copy.deepcopy(arguments))
        check_module(model, self.class_path)
        assert isinstance(model, nn.Module)
        return model.train()

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the call. Raises ModelError if they do not fit the function."""
        parameters = self._parameters()
        named = {name for name, parameter in parameters.items() if parameter.kind in _NAMED}
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        for name, parameter in parameters.items():
            if parameter.kind is parameter.POSITIONAL_ONLY and parameter.default is parameter.empty:
                raise self._refusal(
                    f"it takes {name} only by position", "let it be given by name: remove the /"
                )
        given = {name: value for name, value in self.offered.items() if name in named}
        for name in self.init_args:
            if name in given:
                raise self._refusal(
                    f"{name} is {given[name]} by the data set",
                    f"leave it out: --set model.init_args.{name}=... has no effect on it",
                )
            if name not in named and not takes_any:
                raise self._refusal(f"it takes no argument {name}", _near(name, named))
        arguments = {**given, **self.init_args}
        for name, parameter in parameters.items():
            is_needed = parameter.default is parameter.empty and parameter.kind in _NAMED
            if is_needed and name not in arguments:
                raise self._missing(name)
        return arguments

    def _parameters(self) -> Mapping[str, inspect.Parameter]:
        if isinstance(self.function, nn.Module):
            raise self._refusal(
                "it is a model that is there already, whose first weights are not this job's",
                "name the function or class that makes it",
            )
        if not callable(self.function):
            raise self._refusal(
                f"it is no function or class, but a {type(self.function).__name__}",
                "name a function or class that returns the model",
            )
        try:
            return inspect.signature(self.function).parameters
        except (ValueError, TypeError) as error:
            raise self._refusal(
                f"its arguments are not known: {error}", "write a function that calls it"
            ) from error

    def _missing(self, name: str) -> ModelError:
        if name in OFFERED:
            return self._refusal(
                f"it wants {name}, which this data set does not have",
                f"give it a default, or set it: --set model.init_args.{name}=...",
            )
        return self._refusal(
            f"its argument {name} has no value", f"--set model.init_args.{name}=..."
        )

    def _refusal(self, cause: str, cure: str) -> ModelError:
        return ModelError(f"the model {self.class_path}: {cause}", cure)


def _near(name: str, names: set[str]) -> str:
    """Return the cure for an argument that does not exist."""
    own = sorted(names - set(OFFERED))
    if near := difflib.get_close_matches(name, own, 1):
        return f"did you mean model.init_args.{near[0]}?"
    return f"it takes {', '.join(own)}" if own else "leave model.init_args out"


def check_module(model: Any, name: str) -> None:
    """Raise ModelError unless this is a model that can be trained."""

    def refuse(cause: str, cure: str) -> None:
        raise ModelError(f"the model {name} {cause}", cure)

    if isinstance(model, type) or not isinstance(model, nn.Module):
        what = model.__name__ if isinstance(model, type) else type(model).__name__
        refuse(f"returned {what}, not a torch.nn.Module", "let it return the model")
    for parameter_name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            refuse(
                f"has a lazy layer: {parameter_name} has no shape yet",
                "give its size: num_features says it for the first layer",
            )
        if parameter.device.type != "cpu":
            refuse(
                f"has {parameter_name} on {parameter.device}",
                "build it on the CPU: rnnjob moves it to a worker's GPU",
            )
        if parameter.dtype != torch.float32:
            refuse(
                f"has {parameter_name} in {str(parameter.dtype).removeprefix('torch.')}",
                "let all parameters be float32; training.precision decides the arithmetic",
            )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        refuse("has no parameter that is trained", "register its weights as nn.Parameter or layers")
