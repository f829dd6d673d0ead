"""The picture of one row unrolled through time: input, state and decision of each time step.

The panels lie above each other and share the time steps: a column of all panels is one step.
"""

import base64
from collections.abc import Sequence
from html import escape

from orchestrator.runs.report.axis import Axis, position_axis, show, value_axis
from orchestrator.runs.report.charts import x_text
from orchestrator.runs.report.figure import BOTTOM, LEFT, RIGHT, WIDTH, Figure, Key, Value
from orchestrator.runs.report.png import signed_png
from workers.trained.explain.explanation import Explanation, Unrolled

_PLOT = WIDTH - LEFT - RIGHT
_HEAD_PX, _GAP_PX = 18, 8
_LINE_PX, _SMALL_LINE_PX = 13, 11
_MAX_CLASSES, _MAX_TOKENS, _MAX_LETTERS = 12, 32, 9
Rows = Sequence[Sequence[float]]


def unrolled_figure(found: Explanation, title: str) -> Figure:
    """Return the picture of the row that a model was followed through."""
    row = found.unrolled
    steps = _Steps(len(row.inputs or row.tokens))
    top, parts = 4.0, list[str]()
    for name, height, body in _panels(found, steps):
        parts.append(_text(LEFT, top + 12, name, "small"))
        top += _HEAD_PX
        frame = f'<rect class="frame" x="{LEFT}" y="0" width="{_PLOT}" height="{height:g}"/>'
        parts.append(f'<g transform="translate(0 {top:g})">{body}{frame}</g>')
        top += height + _GAP_PX
    top -= _GAP_PX
    return Figure(
        title,
        "step",
        _keys(found, steps),
        top + BOTTOM,
        "".join([*parts, *steps.ticks(top), x_text("time step", top + BOTTOM)]),
        f"{title}. {in_words(found)}",
        note="a column is a time step; blue: above zero, orange: below",
    )


class _Steps:
    """Where the time steps of a row are, from 1 on: each has a column."""

    def __init__(self, number: int) -> None:
        self.number, self.width = number, _PLOT / number

    def middle(self, step: int) -> float:
        return round(LEFT + (step - 0.5) * self.width, 1)

    def ticks(self, top: float) -> list[str]:
        axis = position_axis([1, self.number])
        found = sorted({1, *map(int, axis.ticks)}) if self.number > 1 else [1]
        close = max(1, self.number // 12)
        shown = [1, *(tick for tick in found if tick > close)]
        return [
            f'<text x="{self.middle(tick)}" y="{top + 16:g}" text-anchor="middle">{tick}</text>'
            for tick in shown
        ]


def _panels(found: Explanation, steps: _Steps) -> list[tuple[str, float, str]]:
    """Return name, height and elements of each panel."""
    row = found.unrolled
    panels = [_tokens(row, steps)] if row.tokens else [_inputs(row)]
    if row.states:
        name = "hidden state" if found.cell != "own" else "state"
        units = len(row.states[0])
        height = min(120.0, max(24.0, 2.0 * units))
        panels.append((f"{name}: {units} units", height, _heat(_turned(row.states), height)))
    panels.append(_classes(found, steps) if found.class_names else _numbers(row, steps))
    return panels


def _inputs(row: Unrolled) -> tuple[str, float, str]:
    width = len(row.inputs[0])
    height = min(90.0, max(14.0, 10.0 * width))
    name = f"input: {width} number{'s' * (width > 1)} at a step"
    return name, height, _heat(_turned(row.inputs), height)


def _tokens(row: Unrolled, steps: _Steps) -> tuple[str, float, str]:
    every = -(-steps.number // _MAX_TOKENS)
    texts = [
        f'<text class="small" transform="translate({steps.middle(place + 1) + 3:g} 56) '
        f'rotate(-90)">{escape(_short(token))}</text>'
        for place, token in enumerate(row.tokens)
        if place % every == 0
    ]
    name = "input: tokens" + (f", every {every}th" if every > 1 else "")
    return name, 60.0, "".join(texts)


def _classes(found: Explanation, steps: _Steps) -> tuple[str, float, str]:
    """Return the probability of each class at each step; of many, the most probable ones."""
    row, names = found.unrolled, found.class_names
    truth = names.index(str(row.truth))
    highest = [max(each[place] for each in row.decisions) for place in range(len(names))]
    by_height = sorted(range(len(names)), key=lambda place: (place != truth, -highest[place]))
    chosen = sorted(by_height[:_MAX_CLASSES])
    line = _LINE_PX if len(chosen) <= 4 else _SMALL_LINE_PX
    height = float(line * len(chosen))
    shown = [[each[place] for each in _at_each_step(row, steps)] for place in chosen]
    labels = [
        f'<text class="small{" strong" * (place == truth)}" x="{LEFT - 5}" '
        f'y="{(at + 0.5) * line + 3.5:g}" text-anchor="end">{escape(_short(names[place]))}</text>'
        for at, place in enumerate(chosen)
    ]
    some = f" ({len(chosen)} of {len(names)} classes)" if len(chosen) < len(names) else ""
    name = f"decision: probability of each class{some}; true is {_short(str(row.truth))}"
    return name, height, _heat(shown, height, 1.0) + "".join(labels)


def _at_each_step(row: Unrolled, steps: _Steps) -> list[Sequence[float]]:
    """Return the decision at each step. Where none was asked for, the one before it holds."""
    known = dict(zip(row.steps, row.decisions, strict=True))
    found = list[Sequence[float]]()
    for step in range(1, steps.number + 1):
        found.append(known.get(step, found[-1] if found else row.decisions[0]))
    return found


def _numbers(row: Unrolled, steps: _Steps) -> tuple[str, float, str]:
    height, truth = 80.0, float(row.truth)
    values = [each[0] for each in row.decisions]
    axis = value_axis([*values, truth])
    line = " ".join(
        f"{steps.middle(step)},{_up(axis, value, height)}"
        for step, value in zip(row.steps, values, strict=True)
    )
    level = _up(axis, truth, height)
    ends = "".join(
        f'<text class="small" x="{LEFT - 5}" y="{y:g}" text-anchor="end">{show(tick)}</text>'
        for y, tick in ((8, axis.high), (height, axis.low))
    )
    return (
        "decision: predicted number; dashed: the true one",
        height,
        f'<polyline class="line c1 dashed" points="{LEFT},{level} {WIDTH - RIGHT},{level}"/>'
        f'<polyline class="line c0" points="{line}"/>{ends}',
    )


def _up(axis: Axis, value: float, height: float) -> float:
    return round((1 - axis.place(value)) * height, 1)


def _turned(rows: Rows) -> Rows:
    """Return what is by time step by unit instead."""
    return list(zip(*rows, strict=True))


def _heat(rows: Rows, height: float, largest: float | None = None) -> str:
    """Return numbers as an image across the whole plot."""
    if largest is None:
        largest = max((abs(value) for row in rows for value in row), default=0.0) or 1.0
    data = base64.b64encode(signed_png(rows, largest)).decode()
    return (
        f'<image x="{LEFT}" y="0" width="{_PLOT}" height="{height:g}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    )


def _keys(found: Explanation, steps: _Steps) -> list[Key]:
    """Return what is said of each step under the pointer."""
    row = found.unrolled
    keys = [Key("decision", 0, _values(steps, dict(zip(row.steps, _said(found), strict=True))))]
    read = row.tokens or [_size(each) for each in row.inputs]
    keys.append(Key("input", 2, _values(steps, dict(enumerate(read, start=1)))))
    if row.states:
        sizes = [_size(each) for each in row.states]
        keys.append(Key("state", 3, _values(steps, dict(enumerate(sizes, start=1)))))
    return [Key(key.name, key.colour, key.values, is_listed=False) for key in keys]


def _values(steps: _Steps, texts: dict[int, str]) -> list[Value]:
    return [Value(steps.middle(step), 0, str(step), text) for step, text in texts.items()]


def _size(values: Sequence[float]) -> str:
    if len(values) == 1:
        return show(values[0])
    return f"mean size {show(sum(map(abs, values)) / len(values))}"


def _said(found: Explanation) -> list[str]:
    """Return the decision at each step in words."""
    if not found.class_names:
        return [show(each[0]) for each in found.unrolled.decisions]
    said = []
    for each in found.unrolled.decisions:
        best = max(range(len(each)), key=each.__getitem__)
        said.append(f"{found.class_names[best]}, {each[best]:.1%}")
    return said


def in_words(found: Explanation) -> str:
    """Say what the model decides for in the end, and since when."""
    row, said = found.unrolled, _said(found)[-1]
    truth = row.truth if isinstance(row.truth, str) else show(row.truth)
    if not found.class_names:
        return f"It is {truth}, and after {row.steps[-1]} steps the model says {said}."
    best, since = row.settled
    return (
        f"It is {truth}; from step {since} of {row.steps[-1]} on the model says "
        f"{found.class_names[best]}, {row.decisions[-1][best]:.1%} at the end."
    )


def _short(text: str) -> str:
    return text if len(text) <= _MAX_LETTERS else f"{text[: _MAX_LETTERS - 1]}…"


def _text(x: float, y: float, text: str, css: str) -> str:
    return f'<text class="{css}" x="{x:g}" y="{y:g}">{escape(text)}</text>'
