"""What models do while they read, in lines and tables of 80 columns."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table

from orchestrator.runs.metrics import metric_name
from orchestrator.runs.report.over_time import describe, rows_read
from orchestrator.runs.report.unrolled import in_words
from workers.trained.explain.explanation import Explanation, GateCurve, GradientCurve

WIDTH = 80
_PLACES = 6
"""How many time steps have a column."""
_NAME_COLUMNS = 26
Line = tuple[str, dict[int, float]]
"""A name, and values by time step."""


def summary(explained: Sequence[Explanation]) -> Iterator[RenderableType]:
    """Yield what to print of one model or several, from top to bottom."""
    yield from (*map(describe, explained), *rows_read(explained))
    several = len(explained) > 1
    score = explained[0].score
    shown = "{:.1%}".format if score == "accuracy" else "{:.4g}".format
    scores = [
        (found.name, dict(zip(found.steps, found.scores, strict=True))) for found in explained
    ]
    yield from _table(f"{metric_name(score)} by steps read", scores, shown)
    gradients = [
        (_name(found, several, curve, curve.of), dict(enumerate(curve.norms)))
        for found in explained
        for curve in found.gradients
    ]
    yield from _table("gradient, by steps to end", gradients, _power)
    gates = [
        (_name(found, several, curve, f"{curve.gate} gate"), dict(enumerate(curve.means, start=1)))
        for found in explained
        for curve in found.gates
    ]
    yield from _table("mean of gates, by step", gates, "{:.2f}".format)
    yield ""
    for found in explained:
        yield f"{found.name}, row {found.unrolled.number:,}: {in_words(found)}"


def _name(found: Explanation, several: bool, curve: GateCurve | GradientCurve, what: str) -> str:
    layer = f"layer {curve.layer} " if curve.layer and found.num_layers > 1 else ""
    run = f"{found.name}: " if several else ""
    return f"{run}{layer}{'backwards ' * curve.backwards}{what}"


def _table(
    title: str, lines: Sequence[Line], shown: Callable[[float], str]
) -> Iterator[RenderableType]:
    """Yield a table with a column for each of a few time steps; nothing without lines."""
    if not lines:
        return
    table = Table(box=None, pad_edge=False)
    table.add_column(title, overflow="fold", width=_NAME_COLUMNS)
    places = _places(sorted({place for _, values in lines for place in values}))
    for place in places:
        table.add_column(str(place), justify="right", no_wrap=True)
    for name, values in lines:
        cells = [shown(values[place]) if place in values else "-" for place in places]
        table.add_row(name, *cells)
    yield ""
    yield table


def _places(steps: Sequence[int]) -> list[int]:
    """Return a few of the steps, about evenly apart, with both ends."""
    if len(steps) <= _PLACES:
        return list(steps)
    return [steps[(len(steps) - 1) * place // (_PLACES - 1)] for place in range(_PLACES)]


def _power(value: float) -> str:
    return f"{value:.1e}" if value else "0"
