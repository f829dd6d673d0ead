"""A figure: on a page, where a script shows its values, or as an SVG file of its own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

WIDTH = 400
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 38
STYLE = (Path(__file__).parent / "figure.css").read_text(encoding="utf-8")
"""Of what is drawn, in light and dark mode."""
_LETTER_PX, _LINE_PX, _SWATCH_PX = 6.6, 17, 15
"""How wide a letter of a legend is at most, and how high a line."""


@dataclass(frozen=True)
class Value:
    """What is shown at one place of a figure."""

    x: float
    y: float
    where: str
    """The text of its place, such as the number of a step."""
    text: str


@dataclass(frozen=True)
class Key:
    """A name in the legend, and the values behind it."""

    name: str
    colour: int
    values: Sequence[Value] = ()
    dashed: bool = False
    is_listed: bool = True
    """Whether it is in the legend. All are in what the script shows."""


@dataclass(frozen=True)
class Figure:
    """What was drawn, and what it says."""

    title: str
    x_label: str
    keys: Sequence[Key]
    height: float
    body: str
    """The elements of the SVG."""
    words: str
    """What it shows, for who cannot see it."""
    note: str = ""
    legend_note: str = ""
    is_near_in_both: bool = False
    """Whether the value nearest to the pointer is looked for along both axes."""

    def html(self) -> str:
        """Return the figure for a page."""
        keys = "".join(
            f'<span class="key c{key.colour}{" dashed" * key.dashed}">{escape(key.name)}</span>'
            for key in self.keys
            if key.is_listed
        )
        more = f'<span class="legend-note">{self.legend_note}</span>' if self.legend_note else ""
        note = f'<span class="note">{escape(self.note)}</span>' if self.note else ""
        words = escape(f"{self.words} The arrow keys read single values.")
        return (
            f'<figure class="chart"><figcaption><b>{escape(self.title)}</b> {keys}{more}{note}'
            f'</figcaption><svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" tabindex="0" '
            f'aria-label="{words}">{self.body}'
            f'<line class="rule" y1="{TOP}" y2="{self.height - BOTTOM:g}"/></svg>'
            f'<div class="tip" role="status"></div>{self._data()}</figure>'
        )

    def _data(self) -> str:
        """Return the values that the script shows under the pointer, each with its place."""
        content = {
            "x": self.x_label,
            "near": "both" if self.is_near_in_both else "x",
            "series": [
                {
                    "name": key.name,
                    "colour": key.colour,
                    "points": [[each.x, each.y, each.where, each.text] for each in key.values],
                }
                for key in self.keys
            ],
        }
        text = json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
        return f'<script type="application/json">{text}</script>'

    def file(self) -> bytes:
        """Return the figure as an SVG file, with its title and its legend drawn."""
        legend, top = self._drawn_legend()
        whole = self.height + top
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole:g}" '
            f'width="{1.2 * WIDTH:g}" height="{1.2 * whole:g}" role="img">'
            f"<title>{escape(self.title)}</title><desc>{escape(self.words)}</desc>"
            f"<style>\n{STYLE}</style>\n"
            f'<rect class="paper" width="{WIDTH}" height="{whole:g}"/>'
            f'{legend}<g transform="translate(0 {top:g})">{self.body}</g></svg>\n'
        ).encode()

    def _drawn_legend(self) -> tuple[str, float]:
        """Return title, note and legend as SVG, and their height."""
        lines, x, y = [_text(6, 18, self.title, "head")], 6.0, 18.0
        if self.note:
            y += _LINE_PX
            lines.append(_text(6, y, self.note))
        listed = [key for key in self.keys if key.is_listed]
        y += _LINE_PX if listed else 0
        for key in listed:
            width = _SWATCH_PX + _LETTER_PX * len(key.name)
            if x > 6 and x + width > WIDTH:
                x, y = 6.0, y + _LINE_PX
            css = f"line c{key.colour}{' dashed' * key.dashed}"
            lines.append(
                f'<polyline class="{css} thick" points="{x:g},{y - 4:g} {x + 11:g},{y - 4:g}"/>'
            )
            lines.append(_text(x + _SWATCH_PX, y, key.name))
            x += width + 8
        if self.legend_note:
            if x + _LETTER_PX * len(self.legend_note) > WIDTH:
                x, y = 6.0, y + _LINE_PX
            lines.append(_text(x, y, self.legend_note))
        return "".join(lines), y + 2


def _text(x: float, y: float, text: str, css: str = "") -> str:
    shown = f' class="{css}"' if css else ""
    return f'<text x="{x:g}" y="{y:g}"{shown}>{escape(text)}</text>'
