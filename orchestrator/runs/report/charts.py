"""Small SVG charts for light and dark mode. They need no script and no other file.

A charting library would bring both, and the report has four curves.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 34
_LARGEST = 1e300


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    """The name in the legend."""
    css: str
    """The CSS class that gives the line its color: `a` or `b`."""
    points: Sequence[tuple[float, float]]
    """The points (x, y), from left to right."""


def line_chart(title: str, x_label: str, series: Sequence[Series], percent: bool = False) -> str:
    """Return an SVG figure as HTML; an empty string if no series has a point.

    `percent`: show the y axis in percent; a `y` of 1 is 100%.
    """
    series = [Series(line.name, line.css, _finite(line.points)) for line in series]
    series = [line for line in series if line.points]
    if not series:
        return ""
    xs = [x for line in series for x, _ in line.points]
    ys = [y for line in series for _, y in line.points]
    x_low, x_high = min(xs), max(xs)
    y_ticks = _ticks(min(ys), max(ys))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def to_pixels(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for tick in y_ticks:
        _, y = to_pixels(x_low, tick)
        text = f"{tick:.1%}" if percent else f"{tick:.3g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    for x_value in dict.fromkeys((x_low, x_high)):
        x, _ = to_pixels(x_value, y_low)
        anchor = "middle" if x_low == x_high else "start" if x_value == x_low else "end"
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 18}" text-anchor="{anchor}">'
            f"{x_value:g}</text>"
        )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{middle:.0f}" y="{_HEIGHT - 4}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    for line in series:
        pixels = [to_pixels(x, y) for x, y in line.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
        parts.append(f'<polyline class="line {line.css}" points="{path}"/>')
        if len(pixels) <= 40:
            parts += [
                f'<circle class="dot {line.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
                for x, y in pixels
            ]
    legend = " ".join(f'<span class="key {line.css}">{escape(line.name)}</span>' for line in series)
    return (
        f"<figure><figcaption>{escape(title)} {legend}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that can be drawn: distances between them must be finite numbers, too."""
    return [(x, y) for x, y in points if abs(x) < _LARGEST and abs(y) < _LARGEST]


def _ticks(low: float, high: float) -> list[float]:
    """Return four to seven round numbers that span the range from low to high."""
    span = max((high - low) or abs(high) or 1.0, 1 / _LARGEST)
    raw = span / 4
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def confusion_table(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Return a confusion matrix as an HTML table: true classes as rows, predictions as columns.

    A cell with mistakes is the darker, the more mistakes it counts.

    `counts[r][c]`: how many rows of class r were predicted as class c. `names`: of the classes.
    """
    classes = range(len(counts))
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    most_mistakes = max((counts[r][c] for r in classes for c in classes if r != c), default=0)
    rows = []
    for r in classes:
        cells = []
        for c in classes:
            n = counts[r][c]
            share = n / most_mistakes if r != c and most_mistakes else 0.0
            style = f' style="--share:{share:.2f}"' if share else ""
            css = ' class="right"' if r == c else ' class="wrong"' if n else ' class="none"'
            cells.append(f"<td{css}{style}>{n}</td>")
        rows.append(f"<tr><th>{escape(names[r])}</th>{''.join(cells)}</tr>")
    return (
        '<table class="confusion"><caption>true class by row, predicted by column</caption>'
        f"<tr><th></th>{head}</tr>{''.join(rows)}</table>"
    )
