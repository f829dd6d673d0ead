"""JSON that somebody else may have written: an object, or ValueError."""

import json
from typing import Any

Json = dict[str, Any]


def parse_object(data: bytes | str) -> Json:
    """Raises ValueError where the text is no JSON object, however it is malformed."""
    try:
        content = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__}, not an object")
    return content
