"""Small SVG charts, readable in light and dark, with no script and no foreign file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 34
_LARGEST = 1e300


@dataclass(frozen=True)
class Series:
    """A line: its name, its CSS class (`a` or `b`), its points (x, y)."""

    name: str
    css: str
    points: Sequence[tuple[float, float]]


def line_chart(title: str, x_label: str, series: Sequence[Series], percent: bool = False) -> str:
    """An SVG figure; empty where no series has a point."""
    series = [Series(one.name, one.css, _finite(one.points)) for one in series]
    series = [one for one in series if one.points]
    if not series:
        return ""
    xs = [x for one in series for x, _ in one.points]
    ys = [y for one in series for _, y in one.points]
    x_low, x_high = min(xs), max(xs)
    y_ticks = _ticks(min(ys), max(ys))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low) if x_high > x_low else 0.5
        up = (y - y_low) / (y_high - y_low)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for tick in y_ticks:
        _, y = at(x_low, tick)
        text = f"{tick:.1%}" if percent else f"{tick:.3g}"
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>'
        )
    for x_value in dict.fromkeys((x_low, x_high)):
        x, _ = at(x_value, y_low)
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
    for one in series:
        where = [at(x, y) for x, y in one.points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
        parts.append(f'<polyline class="line {one.css}" points="{path}"/>')
        if len(where) <= 40:
            parts += [
                f'<circle class="dot {one.css}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
                for x, y in where
            ]
    legend = " ".join(f'<span class="key {one.css}">{escape(one.name)}</span>' for one in series)
    return (
        f"<figure><figcaption>{escape(title)} {legend}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg></figure>"
    )


def _finite(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points whose distance is a number, too."""
    return [(x, y) for x, y in points if abs(x) < _LARGEST and abs(y) < _LARGEST]


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that span low to high."""
    span = max((high - low) or abs(high) or 1.0, 1 / _LARGEST)
    raw = span / 4
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= raw)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def confusion_table(counts: Sequence[Sequence[int]]) -> str:
    """Rows are true classes, columns predictions; mistakes are tinted by their share."""
    classes = range(len(counts))
    head = "".join(f"<th>{c}</th>" for c in classes)
    wrong = max((counts[r][c] for r in classes for c in classes if r != c), default=0)
    rows = []
    for r in classes:
        cells = []
        for c in classes:
            n = counts[r][c]
            share = n / wrong if r != c and wrong else 0.0
            style = f' style="--share:{share:.2f}"' if share else ""
            css = ' class="right"' if r == c else ' class="wrong"' if n else ' class="none"'
            cells.append(f"<td{css}{style}>{n}</td>")
        rows.append(f"<tr><th>{r}</th>{''.join(cells)}</tr>")
    return (
        '<table class="confusion"><caption>true class by row, predicted by column</caption>'
        f"<tr><th></th>{head}</tr>{''.join(rows)}</table>"
    )
