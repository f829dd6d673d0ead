"""HTTP headers that a user adds to each request to a cluster.

They are secrets, so no error text shows a value.
"""

import os
import re
from collections.abc import Mapping
from typing import Any

from workers.errors import InputError
from workers.storage.typed_json import parse_object

VARIABLES = ("RNNJOB_HEADERS", "RAY_JOB_HEADERS")
"""Environment variables that can hold the headers, the stronger one first. The second one is also
read by `ray job`."""
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_CURE = """write --headers '{"Name": "value"}'"""


def parse_headers(text: str) -> dict[str, str]:
    """Return the headers that a JSON object holds. Raises InputError."""
    try:
        content = parse_object(text)
    except ValueError as error:
        raise InputError(f"the headers are not a JSON object: {error}", _CURE) from error
    return check_headers(content)


def headers_of_environment() -> dict[str, str]:
    """Return the headers that the environment holds. Raises InputError."""
    text = next(filter(None, (os.environ.get(name) for name in VARIABLES)), None)
    return parse_headers(text) if text else {}


def check_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers. Raises InputError if one of them cannot be sent.

    The HTTP libraries would refuse such a header, too, but their error texts show its value.
    """
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise InputError("the name of one of the headers is not valid in HTTP", _CURE)
        if not _is_sendable(value):
            raise InputError(
                f"the value of the header {name} cannot be sent: it is not a text, has spaces "
                "around it, or has letters outside ASCII",
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
