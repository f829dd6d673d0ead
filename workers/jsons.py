"""JSON that somebody else may have written: an object, or ValueError."""

import json
import math
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_MAX_DEPTH = 100
"""Deeper than anything of ours; who reads it may recurse."""
_INT64 = 2**63


def parse_object(data: bytes | str) -> Json:
    """Raises ValueError where the text is no JSON object, however it is malformed."""
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}, not an object")
    _check_depth(content)
    return content


def _check_depth(content: Json) -> None:
    level: list[Any] = [content]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
        if not level:
            return
    raise ValueError("nested too deeply")


def _children(value: Any) -> list[Any]:
    return (
        list(value.values())
        if isinstance(value, dict)
        else value
        if isinstance(value, list)
        else []
    )


def misfit(content: Json, types: Mapping[str, Any]) -> str | None:
    """The first key of `types` that is there with a value of another type; None if all fit.

    A type is written as in an annotation, `int | None`. A whole number does as a float; a truth
    value is no number, nor is what 64 bits do not hold.
    """
    return next(
        (k for k, wanted in types.items() if k in content and not _fits(content[k], wanted)), None
    )


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, int):
        return -_INT64 <= value < _INT64 and (isinstance(value, wanted) or isinstance(0.0, wanted))
    return isinstance(value, wanted)
