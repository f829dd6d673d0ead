"""SVG charts for light and dark mode, with values that a few lines of script show.

They are drawn here, and not by a charting library: a page with Bokeh's or Plotly's script is
larger by 1.2 or 4.8 MB, shows nothing where scripts may not run (a notebook's frame, a mail), and
Bokeh draws on a canvas, of which a screen reader sees nothing, in one of the two colour schemes.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from orchestrator.runs.report.axis import (
    LARGEST,
    Axis,
    position_axis,
    show,
    show_percent,
    value_axis,
)

WIDTH, HEIGHT = 400, 236
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 12, 12, 38
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
            round(_LEFT + self.x.place(x) * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - self.y.place(y) * (HEIGHT - _TOP - _BOTTOM), 1),
        )


def chart(
    title: str,
    x_label: str,
    series: Sequence[Series],
    *,
    percent: bool = False,
    may_be_log: bool = False,
    marks: Sequence[tuple[float, str]] = (),
    is_count: bool = False,
    note: str = "",
) -> str:
    """Return a figure as HTML; an empty string if no series has a point.

    Args:
        percent: show the y axis in percent; a `y` of 1 is 100%.
        marks: vertical lines, with what they stand for.
        may_be_log: let the y axis be logarithmic if the values differ by orders of magnitude.
        is_count: let the y axis begin at zero, with whole numbers.
        note: a line below the title.
    """
    series = [line for line in map(_drawable, series) if line.points]
    if not series:
        return ""
    shown = show_percent if percent else show
    xs = [x for line in series for x, _ in line.points] + [x for x, _ in marks]
    ys = [y for line in series for _, y in line.points] + [0.0] * is_count
    ys += [y for line in series for _, *ends in line.band for y in ends]
    frame = _Frame(position_axis(xs), value_axis(ys, may_be_log, is_count))
    parts = [*_grid(frame, shown), _x_label(x_label)]
    for line in series:
        parts += _drawn(line, frame)
    for x, text in marks:
        at, _ = frame(x, frame.y.low)
        parts.append(
            f'<line class="mark" x1="{at}" x2="{at}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}">'
            f"<title>{escape(text)}</title></line>"
        )
    legend = _legend(series)
    small = f'<span class="note">{escape(note)}</span>' if note else ""
    return (
        f'<figure class="chart"><figcaption><b>{escape(title)}</b> {legend}{small}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" '
        f'aria-label="{escape(_in_words(title, x_label, series, shown))}">{"".join(parts)}'
        f'<line class="rule" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/></svg>'
        f'<div class="tip" role="status"></div>{_data(x_label, series, frame, shown)}</figure>'
    )


def _legend(series: Sequence[Series]) -> str:
    """Name the lines. Dashed lines in the colours of others need one word for all of them."""
    solid = {line.colour for line in series if not line.dashed}
    others = [line for line in series if line.dashed and line.colour in solid]
    names = "".join(
        f'<span class="key c{line.colour}{" dashed" * line.dashed}">{escape(line.name)}</span>'
        for line in series
        if line not in others
    )
    return names + ('<span class="legend-note">dashed: validation</span>' if others else "")


def _drawable(line: Series) -> Series:
    """Return a line without what cannot be drawn: distances must be finite numbers, too."""
    points = [(x, y) for x, y in line.points if abs(x) < LARGEST and abs(y) < LARGEST]
    band = [each for each in line.band if all(abs(value) < LARGEST for value in each)]
    return Series(line.name, line.colour, points, line.dashed, band, line.style)


def _grid(frame: _Frame, shown: Callable[[float], str]) -> list[str]:
    parts = []
    for tick in frame.y.ticks:
        _, y = frame(frame.x.low, tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(_text(_LEFT - 6, y + 4, "end", shown(tick)))
    for tick in frame.x.ticks:
        x, bottom = frame(tick, frame.y.low)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{bottom}" y2="{bottom + 4}"/>')
        anchor = "end" if x > WIDTH - _RIGHT - 8 else "middle"
        parts.append(_text(x + 4 * (anchor == "end"), HEIGHT - _BOTTOM + 16, anchor, show(tick)))
    return parts


def _x_label(text: str) -> str:
    return _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 5, "middle", text)


def _text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>'


def _drawn(line: Series, frame: _Frame) -> list[str]:
    pixels = [frame(x, y) for x, y in line.points]
    css = f"c{line.colour}{' dashed' * line.dashed}"
    if line.style == "bars":
        width = max(1.0, 0.9 * (WIDTH - _LEFT - _RIGHT) / len(pixels))
        bottom = HEIGHT - _BOTTOM
        return [
            f'<rect class="{css}" x="{max(_LEFT, x - width / 2):.1f}" y="{y}" width="{width:.1f}" '
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
    return f"{title}. {'; '.join(lines)}. The arrow keys read single values."


def _data(
    x_label: str, series: Sequence[Series], frame: _Frame, shown: Callable[[float], str]
) -> str:
    """Return the values that the script shows under the pointer, each with its place."""
    content = {
        "x": x_label,
        "near": "both" if any(line.style == "dots" for line in series) else "x",
        "series": [
            {
                "name": line.name,
                "colour": line.colour,
                "points": [[*frame(x, y), show(x), shown(y)] for x, y in line.points],
            }
            for line in series
        ],
    }
    text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'
