"""SVG charts for light and dark mode, with values that a few lines of script show.

They are drawn here, and not by a charting library: a page with Bokeh's or Plotly's script is
larger by 1.2 or 4.8 MB, shows nothing where scripts may not run (a notebook's frame, a mail), and
Bokeh draws on a canvas, of which a screen reader sees nothing, in one of the two colour schemes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from orchestrator.runs.report.axis import (
    LARGEST,
    Axis,
    position_axis,
    show,
    show_percent,
    value_axis,
)
from orchestrator.runs.report.figure import BOTTOM, LEFT, RIGHT, TOP, WIDTH, Figure, Key, Value

HEIGHT = 236
NUM_COLOURS = 8
_MAX_DOTS = 40
Point = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """One line of a chart."""

    name: str
    """The name in the legend."""
    colour: int
    """The number of its colour."""
    points: Sequence[Point]
    """The points (x, y), from left to right."""
    dashed: bool = False
    band: Sequence[tuple[float, float, float]] = ()
    """The range (x, low, high) of what the points are means of."""
    style: str = "line"
    """`line`, `dots` or `bars`."""


@dataclass(frozen=True)
class _Frame:
    """Where the numbers of a chart are in its picture."""

    x: Axis
    y: Axis

    def __call__(self, x: float, y: float) -> Point:
        return (
            round(LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT), 1),
            round(HEIGHT - BOTTOM - self.y.place(y) * (HEIGHT - TOP - BOTTOM), 1),
        )


def drawn(
    title: str,
    x_label: str,
    series: Sequence[Series],
    *,
    percent: bool = False,
    log_ratio: float = math.inf,
    marks: Sequence[tuple[float, str]] = (),
    is_count: bool = False,
    note: str = "",
    dashed: str = "validation",
) -> Figure | None:
    """Return a figure; None if no series has a point.

    Args:
        percent: show the y axis in percent; a `y` of 1 is 100%.
        marks: vertical lines, with what they stand for.
        log_ratio: the y axis is logarithmic if the largest value is so many times the smallest.
        is_count: let the y axis begin at zero, with whole numbers.
        note: a line below the title.
        dashed: what dashed lines in the colours of others are.
    """
    series = [line for line in map(_drawable, series) if line.points]
    if not series:
        return None
    shown = show_percent if percent else show
    frame = _frame(series, marks, log_ratio, is_count)
    parts = [*_grid(frame, shown), x_text(x_label, HEIGHT)]
    for line in series:
        parts += _line(line, frame)
    parts += [_mark(frame, x, text) for x, text in marks]
    listed = _listed(series)
    return Figure(
        title,
        x_label,
        [_key(line, line in listed, frame, shown) for line in series],
        HEIGHT,
        "".join(parts),
        _in_words(title, x_label, series, shown),
        note,
        f"dashed: {dashed}" if len(listed) < len(series) else "",
        is_near_in_both=any(line.style == "dots" for line in series),
    )


def chart(title: str, x_label: str, series: Sequence[Series], **how: Any) -> str:
    """Return a figure as HTML; empty if no series has a point. `how`: see `drawn`."""
    figure = drawn(title, x_label, series, **how)
    return figure.html() if figure else ""


def _frame(
    series: Sequence[Series],
    marks: Sequence[tuple[float, str]],
    log_ratio: float,
    is_count: bool,
) -> _Frame:
    xs = [x for line in series for x, _ in line.points] + [x for x, _ in marks]
    ys = [y for line in series for _, y in line.points] + [0.0] * is_count
    ys += [y for line in series for _, *ends in line.band for y in ends]
    return _Frame(position_axis(xs), value_axis(ys, log_ratio, is_count))


def _listed(series: Sequence[Series]) -> list[Series]:
    """Return the lines of the legend. Dashed ones in the colours of others need one word for all
    of them."""
    solid = {line.colour for line in series if not line.dashed}
    return [line for line in series if not (line.dashed and line.colour in solid)]


def _key(line: Series, is_listed: bool, frame: _Frame, shown: Callable[[float], str]) -> Key:
    values = [Value(*frame(x, y), show(x), shown(y)) for x, y in line.points]
    return Key(line.name, line.colour, values, line.dashed, is_listed)


def _mark(frame: _Frame, x: float, text: str) -> str:
    at, _ = frame(x, frame.y.low)
    return (
        f'<line class="mark" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}">'
        f"<title>{escape(text)}</title></line>"
    )


def _drawable(line: Series) -> Series:
    """Return a line without what cannot be drawn: distances must be finite numbers, too."""
    points = [(x, y) for x, y in line.points if abs(x) < LARGEST and abs(y) < LARGEST]
    band = [each for each in line.band if all(abs(value) < LARGEST for value in each)]
    return Series(line.name, line.colour, points, line.dashed, band, line.style)


def _grid(frame: _Frame, shown: Callable[[float], str]) -> list[str]:
    parts = []
    for tick in frame.y.ticks:
        _, y = frame(frame.x.low, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(LEFT - 6, y + 4, "end", shown(tick)))
    for tick in frame.x.ticks:
        x, bottom = frame(tick, frame.y.low)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
        anchor = "end" if x > WIDTH - RIGHT - 8 else "middle"
        parts.append(_text(x + 4 * (anchor == "end"), HEIGHT - BOTTOM + 16, anchor, show(tick)))
    return parts


def x_text(text: str, height: float) -> str:
    """Return the name of the x axis of a figure."""
    return _text((LEFT + WIDTH - RIGHT) / 2, height - 5, "middle", text)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(line: Series, frame: _Frame) -> list[str]:
    pixels = [frame(x, y) for x, y in line.points]
    css = f"c{line.colour}{' dashed' * line.dashed}"
    if line.style == "bars":
        width = max(1.0, 0.9 * (WIDTH - LEFT - RIGHT) / len(pixels))
        bottom = HEIGHT - BOTTOM
        return [
            f'<rect class="{css}" x="{max(LEFT, x - width / 2):.1f}" y="{y}" width="{width:.1f}" '
            f'height="{bottom - y:.1f}"/>'
            for x, y in pixels
        ]
    if line.style == "dots":
        return [f'<circle class="{css} faint" cx="{x}" cy="{y}" r="2.2"/>' for x, y in pixels]
    parts = []
    if line.band:
        upper = [frame(x, high) for x, _, high in line.band]
        lower = [frame(x, low) for x, low, _ in reversed(line.band)]
        corners = " ".join(f"{x},{y}" for x, y in (*upper, *lower))
        parts.append(f'<polygon class="band c{line.colour}" points="{corners}"/>')
    parts.append(
        f'<polyline class="line {css}" points="{" ".join(f"{x},{y}" for x, y in pixels)}"/>'
    )
    if len(pixels) <= _MAX_DOTS:
        parts += [f'<circle class="{css}" cx="{x}" cy="{y}" r="2.4"/>' for x, y in pixels]
    return parts


def _in_words(
    title: str, x_label: str, series: Sequence[Series], shown: Callable[[float], str]
) -> str:
    """Say what a chart shows, for who cannot see it."""
    lines = [
        f"{line.name}: {len(line.points)} points, from {shown(line.points[0][1])} at {x_label} "
        f"{show(line.points[0][0])} to {shown(line.points[-1][1])} at {show(line.points[-1][0])}"
        for line in series
    ]
    return f"{title}. {'; '.join(lines)}."
