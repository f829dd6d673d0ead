"""Parse JSON objects that somebody else may have written, and check the types of their values."""

import contextlib
import json
import math
from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]
_MAX_DEPTH = 100
"""The deepest nesting accepted. Ours is never as deep, and readers may recurse into the content."""
_MAX_VALUES = 4_000_000
"""The most values accepted: those of a hundred thousand epochs. An empty list is two bytes of JSON,
and 64 in memory."""
_INT64 = 2**63
_CONTAINERS = (dict, list)


def parse_object(data: bytes | str) -> Json:
    """Return a JSON object. Raises ValueError for any text that is not one."""
    if isinstance(data, str):
        data = data.encode(errors="surrogatepass")
    num_containers = data.count(b"[") + data.count(b"{")
    if num_containers + data.count(b",") > _MAX_VALUES:
        raise ValueError(f"it has more than {_MAX_VALUES:,} values")
    content = _parsed(data)
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}, not an object")
    if num_containers > _MAX_DEPTH:  # fewer cannot be nested deeper
        _check_depth(content)
    return content


def _parsed(data: bytes) -> Any:
    """Return what JSON says. Raises ValueError."""
    from pydantic_core import from_json

    with contextlib.suppress(ValueError):
        return from_json(data)  # in a third of the time
    # It refuses a few texts that json accepts, such as half of a surrogate pair.
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _check_depth(content: Json) -> None:
    level: list[Any] = [content]
    for _ in range(_MAX_DEPTH):
        # Most values are numbers and texts: a call for each of them would take most of the time.
        level = [
            child
            for value in level
            for child in (value.values() if isinstance(value, dict) else value)
            if isinstance(child, _CONTAINERS)
        ]
        if not level:
            return
    raise ValueError("nested too deeply")


def mistyped_key(content: Json, types: Mapping[str, Any]) -> str | None:
    """Return the first key of `types` whose value in `content` has another type, or None.

    Keys that are missing in `content` are not checked. A type is written as in an annotation,
    `int | None`. An integer is accepted as a float. A boolean is not accepted as a number, and
    neither are NaN, infinity and integers of more than 64 bits.
    """
    return next(
        (k for k, wanted in types.items() if k in content and not _has_type(content[k], wanted)),
        None,
    )


def _has_type(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool):
        return wanted is bool
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(value, int):
        return -_INT64 <= value < _INT64 and (isinstance(value, wanted) or isinstance(0.0, wanted))
    return isinstance(value, wanted)
