"""Headers that a user has sent with each request to a cluster. They are secrets: nothing here shows
a value."""

import re
from collections.abc import Mapping
from typing import Any

from workers.errors import InputError
from workers.jsons import parse_object

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CURE = """write --headers '{"Name": "value"}'"""


def parse_headers(text: str) -> dict[str, str]:
    """The headers of a JSON object. Raises InputError."""
    try:
        content = parse_object(text)
    except ValueError as error:
        raise InputError(f"the headers are no JSON object: {error}", _CURE) from error
    return check_headers(content)


def check_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """The headers, if they can be sent: the libraries that send them would show those that cannot.

    Raises InputError.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InputError("one of the headers has a name that no header can have", _CURE)
        if not _is_sendable(value):
            raise InputError(
                f"the header {name} has a value that no header can have: "
                "not text, or with spaces around it or letters beyond ASCII",
                _CURE,
            )
    return dict(headers)


def _is_sendable(value: Any) -> bool:
    return (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and value == value.strip()
    )
