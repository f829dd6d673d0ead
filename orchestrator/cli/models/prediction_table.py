"""Predictions on a terminal: a line for each row, within 80 columns, as they come."""

import math
from collections.abc import Iterable, Iterator
from typing import IO, Any

import pyarrow as pa

from orchestrator.cli.output import Styled, echo, one_line, printable

_FILE_WIDTH, _ID_WIDTH, _PREDICTION_WIDTH = 22, 30, 14
_OTHERS_WIDTH = 10
"""How much room the second most probable class has."""


def print_rows(batches: Iterable[pa.RecordBatch], file: IO[str]) -> None:
    """Print a header, and then the rows. The first batch decides how wide the columns are."""
    widths: dict[str, int] = {}
    for batch in batches:
        rows = [_shown(row) for row in batch.to_pylist()]
        if not widths and rows:
            widths = _widths(rows)
            echo(Styled(_line({name: name for name in widths}, widths), bold=True), file=file)
        for row in rows:
            echo(_line(row, widths), file=file)


def _shown(row: dict[str, Any]) -> dict[str, str]:
    """Return the texts of a row by column."""
    cells = {
        "file": _end(str(row["file"]), _FILE_WIDTH) if "file" in row else None,
        "row": str(row["row"]) if "row" in row else None,
        "id": _start(str(row["id"]), _ID_WIDTH) if "id" in row else None,
        "prediction": row["prediction"],
    }
    if isinstance(row["prediction"], float):
        cells["prediction"] = f"{row['prediction']:.6g}"
    else:
        cells["prediction"] = _start(row["prediction"], _PREDICTION_WIDTH)
        cells["probability"] = _percent(row["probability"])
        cells["next"] = _second(row)
    return {name: text for name, text in cells.items() if text is not None}


def _second(row: dict[str, Any]) -> str:
    others = {name: p for name, p in row["probabilities"].items() if name != row["prediction"]}
    if not others:
        return ""
    name = max(others, key=lambda other: others[other])
    return f"{_start(name, _OTHERS_WIDTH)} {_percent(others[name])}"


def _percent(probability: float) -> str:
    return "-" if math.isnan(probability) else f"{probability:.2%}"


def _start(text: str, width: int) -> str:
    text = one_line(printable(text))
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _end(text: str, width: int) -> str:
    """Return the end of a path, which tells it from others."""
    text = one_line(printable(text))
    return text if len(text) <= width else f"…{text[1 - width :]}"


def _widths(rows: list[dict[str, str]]) -> dict[str, int]:
    return {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}


def _line(row: dict[str, str], widths: dict[str, int]) -> str:
    return "  ".join(_cells(row, widths)).rstrip()


def _cells(row: dict[str, str], widths: dict[str, int]) -> Iterator[str]:
    for name, text in row.items():
        is_number = name in ("row", "probability")
        yield text.rjust(widths[name]) if is_number else text.ljust(widths[name])
