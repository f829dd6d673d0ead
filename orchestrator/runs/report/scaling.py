"""The page of `rnnjob scaling`: the curve of a job over the number of its workers."""

from collections.abc import Sequence
from html import escape

from orchestrator.runs.report.charts import Series, chart
from orchestrator.runs.report.html import page
from orchestrator.runs.report.tables import table
from orchestrator.runs.scaling import PARTS, Curve, Point


def render_curve(curve: Curve, sentences: Sequence[str]) -> bytes:
    """Return the HTML page of a curve. `sentences`: what is said of it."""
    title = curve.points[0].run_id.rpartition("-workers")[0]
    said = "<br>".join(map(escape, sentences))
    charts = "".join([_speed(curve), _seconds(curve)])
    return page(
        f"{title}: scaling",
        f"<h1>{escape(title)}: scaling</h1><p>{said}</p>"
        f'<div class="charts">{charts}</div>{_table(curve)}',
    )


def _speed(curve: Curve) -> str:
    measured = [(float(p.workers), curve.speed_up(p)) for p in curve.points]
    ideal = [(float(p.workers), curve.ideal(p.workers)) for p in curve.points]
    return chart(
        "Speed-up", "workers",
        [Series("measured", 0, measured), Series("ideal", 1, ideal, dashed=True)],
        is_count=True, note="samples/s, as a multiple of those of the fewest workers",
    )  # fmt: skip


def _seconds(curve: Curve) -> str:
    lines = [
        Series(part, colour, [(float(p.workers), 1000 * p.step_s(part)) for p in curve.points])
        for colour, part in enumerate(PARTS)
    ]
    return chart(
        "Where the time of a step goes", "workers", lines,
        is_count=True, note="milliseconds of a mean step, of worker 0",
    )  # fmt: skip


def _table(curve: Curve) -> str:
    head = ["workers", "samples/s", "speed-up", "efficiency", *PARTS, "run", "weights"]
    return table(head, [_row(curve, point) for point in curve.points])


def _row(curve: Curve, point: Point) -> list[str]:
    return [
        str(point.workers),
        f"{point.samples_per_s:,.0f}",
        f"{curve.speed_up(point):.2f}",
        f"{curve.efficiency(point):.0%}",
        *(f"{point.share(part):.1%}" for part in PARTS),
        escape(point.run_id),
        f"<code>{escape((point.weights or 'none')[:12])}</code>",
    ]
