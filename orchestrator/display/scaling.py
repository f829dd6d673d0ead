"""The curve of a job over the number of its workers, as a table, bars and sentences."""

import math
import textwrap
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table

from orchestrator.runs.scaling import PARTS, WORTH, Curve

WIDTH = 80
_BAR = 48
_WHY = {
    "data": "waiting for rows",
    "compute": "computing: cores that are shared, too few rows of a shard in a step, or what every "
    "worker does alike",
    "exchange": "the exchange, in which workers also wait for the slowest",
    "other": "what worker 0 does between steps: metrics and checkpoints",
}


def shown(curve: Curve) -> Iterator[RenderableType]:
    """Yield what to print of a curve, from top to bottom."""
    yield _table(curve)
    yield ""
    yield from _bars(curve)
    yield ""
    yield from (textwrap.fill(each, WIDTH) for each in sentences(curve))


def sentences(curve: Curve) -> list[str]:
    """Say where it stops to pay to add workers, what bounds the speed, and about the weights."""
    return list(filter(None, [_where_it_stops(curve), _what_bounds(curve), _about_weights(curve)]))


def _table(curve: Curve) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("WORKERS", "SAMPLES/S", "SPEED-UP", "EFFICIENCY", *map(str.upper, PARTS)):
        table.add_column(name, justify="right")
    for point in curve.points:
        table.add_row(
            str(point.workers),
            f"{point.samples_per_s:,.0f}",
            f"{curve.speed_up(point):.2f}",
            f"{curve.efficiency(point):.0%}",
            *(f"{point.share(part):.0%}" for part in PARTS),
        )
    return table


def _bars(curve: Curve) -> Iterator[str]:
    """Yield a bar for the speed of each point; dots go on to the ideal one."""
    largest = max(max(curve.ideal(p.workers), curve.speed_up(p)) for p in curve.points)
    for point in curve.points:
        bar = "#" * round(_BAR * curve.speed_up(point) / largest)
        ideal = round(_BAR * curve.ideal(point.workers) / largest)
        yield f"{point.workers:7}  {bar.ljust(ideal, '.')}"


def _where_it_stops(curve: Curve) -> str:
    points, place = curve.points, curve.last_that_pays
    if len(points) == 1:
        return ""
    few = points[0].workers
    rule = f"the rule: at least {WORTH:.0%} of what {_each(few)} brings"
    if place == len(points) - 1:
        return f"Adding workers pays up to {points[-1].workers}, the most measured ({rule})."
    here, after = points[place], points[place + 1]
    worth = curve.worth(here, after)
    brings = (
        f"each one added brings {math.floor(100 * worth)}%" if worth > 0 else "it becomes slower"
    )
    pays = f"pays up to {here.workers}" if place else "does not pay"
    return f"Adding workers {pays}: from {here.workers} to {after.workers}, {brings} ({rule})."


def _each(workers: int) -> str:
    return "the first" if workers == 1 else f"each of the first {workers}"


def _what_bounds(curve: Curve) -> str:
    if not curve.bound:
        return ""
    return f"With {curve.bounded.workers} workers, most time is lost by {_WHY[curve.bound]}."


def _about_weights(curve: Curve) -> str:
    if len(curve.points) == 1:
        return ""
    if not curve.weights_are_same:
        return "The weights are not the same for all numbers of workers."
    weights = (curve.points[0].weights or "none")[:12]
    return f"The weights are the same for all numbers of workers: {weights}."
