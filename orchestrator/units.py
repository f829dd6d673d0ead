"""Parse and show durations and sizes in the form in which people write them, like `2h30m`.

Written by hand: listing runs must not import pydantic, which has `ByteSize`, and the one line of
an error names what is valid.
"""

import math
import re

_SECONDS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_BYTES = {
    "b": 1,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
}


def parse_duration(text: str | int | float) -> float:
    """Return the seconds of a text like `90`, `90s`, `10m`, `2h30m`, `1d`. Raises ValueError."""
    if isinstance(text, bool):
        raise ValueError(f"{text} is not a duration; write 90s, 10m or 2h30m")
    if not isinstance(text, str):
        seconds = _as_float(text, "duration")
    else:
        text = text.strip().lower()
        parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
        if re.fullmatch(r"\d+(\.\d+)?", text):
            seconds = float(text)
        elif parts and "".join(number + unit for number, unit in parts) == text:
            seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
        else:
            raise ValueError(f"'{text}' is not a duration; write 90s, 10m or 2h30m")
    if not 0 < seconds < float("inf"):
        raise ValueError(f"a duration must be above zero, not {text}")
    return seconds


def parse_bytes(text: str | int) -> int:
    """Return the bytes of a text like `1GiB`, `500 MB`, `4096`. Raises ValueError."""
    if isinstance(text, int) and not isinstance(text, bool):
        size = text
    else:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(text).strip().lower())
        unit = (match.group(2) or "b") if match else ""
        if match is None or unit not in _BYTES:
            raise ValueError(f"'{text}' is not a size; write 1GiB or 500MB")
        amount = _as_float(match.group(1), "size") * _BYTES[unit]
        if amount == math.inf:
            raise ValueError(f"'{match.group(0)[:20]}' is too large for a size")
        size = int(amount)
    if size <= 0:
        raise ValueError(f"a size must be above zero, not {text}")
    return size


def _as_float(text: str | int | float, quantity: str) -> float:
    try:
        return float(text)
    except OverflowError as error:
        raise ValueError(f"'{str(text)[:20]}...' is too large for a {quantity}") from error
    except TypeError as error:
        raise ValueError(f"{str(text)[:20]} is not a {quantity}") from error


def show_duration(seconds: float) -> str:
    """Return a duration like `42s`, `3m 05s`, `2h 10m`, `4d 3h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def show_bytes(size: float) -> str:
    """Return a size like `512 B`, `1.5 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError
