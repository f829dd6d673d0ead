"""Text that cannot drive a terminal. It may come from a storage or a cluster, from a stranger."""

import re

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Characters that a terminal obeys: control characters but newline and tab, and those that change
the direction of writing."""


def printable(text: str) -> str:
    """Return the text with each character that a terminal obeys as its escape, such as \\x1b."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
