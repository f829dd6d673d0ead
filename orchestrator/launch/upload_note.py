"""Say in a few lines what is uploaded of the working directory, and what is left out."""

from typing import Any

from orchestrator.launch.upload_rules import CUT_DATA, RUN_FOLDER, SECRET
from orchestrator.units import show_bytes

_WIDTH = 76
"""Columns of a line. A dry run puts `#   ` before it."""
_MAX_LINES = 10
_MAX_REASON = 40
_NUM_LARGEST = 3
_SHOWN_FIRST = (SECRET, RUN_FOLDER, CUT_DATA)


def describe_upload(names: dict[str, Any]) -> list[str]:
    """Return at most ten lines for the listing of a working directory.

    `names`: what `Upload.names_to_json` returned.
    """
    files = [file for file in names["files"] if not file["path"].endswith("/")]
    size = show_bytes(sum(file["num_bytes"] for file in files))
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    end = f": {count}, {size}"
    head = "sent from "
    lines = [head + _shorten(names["path"], _WIDTH - len(head) - len(end)) + end]
    if files:
        lines.append(_largest(files))
    return lines + _left_out(names["left_out"], _MAX_LINES - len(lines))


def _largest(files: list[dict[str, Any]]) -> str:
    head = "  largest: "
    largest = sorted(files, key=lambda file: (-file["num_bytes"], file["path"]))[:_NUM_LARGEST]
    sizes = [f" ({show_bytes(file['num_bytes'])})" for file in largest]
    room = _WIDTH - len(head)
    items = [
        _shorten(f["path"], room - len(size)) + size for f, size in zip(largest, sizes, strict=True)
    ]
    return head + _join(items, room)[0]


def _left_out(entries: list[dict[str, Any]], num_lines: int) -> list[str]:
    """Return a line for each reason, and one that says how to see and to change it."""
    if not entries:
        return []
    by_reason: dict[str, list[str]] = {}
    for entry in entries:
        by_reason.setdefault(entry["reason"], []).append(entry["path"])
    reasons = sorted(by_reason, key=lambda reason: (_rank(reason), -len(by_reason[reason])))
    lines = [_one_reason(by_reason[reason], reason) for reason in reasons[: num_lines - 1]]
    more = len(reasons) - len(lines)
    rest = f"{more} more; " if more else ""
    return [*lines, f"  {rest}list all: submit --dry-run --json; send one: --include PATTERN"]


def _rank(reason: str) -> int:
    return next(
        (rank for rank, first in enumerate(_SHOWN_FIRST) if first in reason), len(_SHOWN_FIRST)
    )


def _one_reason(paths: list[str], reason: str) -> str:
    reason = reason if len(reason) <= _MAX_REASON else reason[: _MAX_REASON - 3] + "..."
    head, end = "  left out: ", f" ({reason})"
    room = _WIDTH - len(head) - len(end) - len(f" and {len(paths)} more")
    text, num_shown = _join([_shorten(path, room) for path in paths], room)
    more = len(paths) - num_shown
    return head + text + (f" and {more} more" if more else "") + end


def _join(items: list[str], room: int) -> tuple[str, int]:
    """Return as many items as there is room for, at least one, and their number."""
    text, num = items[0], 1
    while num < len(items) and len(text) + len(items[num]) + 2 <= room:
        text, num = f"{text}, {items[num]}", num + 1
    return text, num


def _shorten(path: str, room: int) -> str:
    """Return the end of a path that is too long. Nothing in it can drive a terminal."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)
    return shown if len(shown) <= room else "..." + shown[3 - room :]
