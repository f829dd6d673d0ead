"""Tables of a page as HTML."""

from collections.abc import Sequence
from html import escape
from typing import Any

NONE = "&ndash;"
_MAX_TEXT = 120


def number(value: float | str | None, form: str = ".4f") -> str:
    return NONE if value is None else escape(format(value, form))


def text_of(value: Any) -> str:
    """Return any value of a record as text that is not too long."""
    if value is None:
        return NONE
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value)) or "none"
    text = str(value)
    return escape(text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…")


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], css: str = "", label: str = ""
) -> str:
    """Return a table that scrolls for itself. Cells are HTML. Empty without rows."""
    if not rows:
        return ""
    columns = "".join(f'<th scope="col">{name}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    caption = f"<caption>{label}</caption>" if label else ""
    name = label or ", ".join(head)
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{name}">'
        f'<table class="{css}">{caption}<thead><tr>{columns}</tr>'
        f"</thead><tbody>{body}</tbody></table></div>"
    )


def records_table(columns: Sequence[tuple[str, str, str]], rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of records. `columns`: heading, key and format of each."""
    return table(
        [name for name, _, _ in columns],
        [[number(row.get(key), form) for _, key, form in columns] for row in rows],
    )


def confusion_table(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Return a confusion matrix: true classes as rows, predictions as columns.

    A cell with mistakes is the darker, the more mistakes it counts.

    `counts[r][c]`: how many rows of class r were predicted as class c. `names`: of the classes.
    """
    classes = range(len(counts))
    head = "".join(f'<th class="up" scope="col">{escape(name)}</th>' for name in names)
    most_mistakes = max((counts[r][c] for r in classes for c in classes if r != c), default=0)
    rows = []
    for r in classes:
        cells = []
        for c in classes:
            n = counts[r][c]
            share = n / most_mistakes if r != c and most_mistakes else 0.0
            style = f' style="--share:{share:.2f}"' if share else ""
            css = "right" if r == c else "wrong" if n else "none"
            cells.append(f'<td class="{css}"{style}>{n}</td>')
        rows.append(f'<tr><th scope="row">{escape(names[r])}</th>{"".join(cells)}</tr>')
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="confusions">'
        '<table class="confusion">'
        "<caption>true class by row, predicted by column</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )
