"""Hand the values of several flags to a command as one object."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

R = TypeVar("R")


def gathered(kind: type[Any], name: str) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Return a decorator of commands. It makes a dataclass of the values of the flags that are
    named like its fields, and passes it on as the argument `name` in their place."""
    flags = [field.name for field in fields(kind)]

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        @wraps(function)
        def with_object(*args: Any, **values: Any) -> R:
            values[name] = kind(**{flag: values.pop(flag) for flag in flags})
            return function(*args, **values)

        return with_object

    return decorate
