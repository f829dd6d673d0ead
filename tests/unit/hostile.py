"""Strategies for files that a failing disk, another program or an attacker may leave behind."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

ODD_VALUES: list[Any] = [
    None, True, False, -1, 0, 1.5, 2**31, 2**40, 2**63, 10**400, 1e308, -1e308, 5e-324,
    float("inf"), float("nan"), "", "x", "7", "[/b]", "[red]", ":x:", "\ud800", "a\0b", "../../up",
    "/etc/passwd", "\x1b[2J", "²", "x" * 5000, [], {}, [[]], [1, 2], {"x": {"y": 1}},
]  # fmt: skip
ODD = st.sampled_from(ODD_VALUES)
DEEP = b'{"state": ' + b"[" * 400 + b"]" * 400 + b"}"
VERY_DEEP = b"[" * 100_000
LONG_NUMBER = b'{"state": ' + b"9" * 5000 + b"}"
NO_OBJECTS = st.binary(max_size=40) | st.sampled_from(
    [b"", b"null", b"[]", b"7", b'"x"', b"{", b"\xff\xfe", b"\0", DEEP, VERY_DEEP, LONG_NUMBER]
)


def changed(content: Mapping[str, Any]) -> st.SearchStrategy[bytes]:
    """Return JSON objects in which some values have another type and some keys are missing."""
    keys = st.sampled_from(sorted(content))
    return st.builds(
        lambda values, missing: json.dumps(
            {k: v for k, v in {**content, **values}.items() if k not in missing}
        ).encode(),
        st.dictionaries(keys | st.just("later"), ODD, max_size=4),
        st.sets(keys, max_size=2),
    )


def damaged(data: bytes) -> st.SearchStrategy[bytes]:
    """Return the data truncated, with a flipped bit, with inserted bytes or a repeated part."""
    places = st.integers(0, max(0, len(data) - 1))
    return (
        st.builds(lambda n: data[:n], places)
        | st.builds(_flipped, st.just(data), places, st.integers(0, 7))
        | st.builds(lambda n, more: data[:n] + more + data[n:], places, st.binary(max_size=6))
        | st.builds(lambda n: data[:n] + data[n // 2 :], places)
    )


def _flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def files_in(folder: Path, but: Path | None = None) -> dict[Path, bytes]:
    """Return the content of every file below a folder, except those below `but`."""
    return {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not (but and path.is_relative_to(but))
    }
