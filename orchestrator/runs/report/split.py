"""The test split on a page: by class, the mistakes, and numbers against their predictions."""

import base64
from collections.abc import Sequence
from html import escape

from orchestrator.runs.report.axis import show, value_axis
from orchestrator.runs.report.charts import NUM_COLOURS, Series, chart
from orchestrator.runs.report.content import Predicted, Reported, WrongRow
from orchestrator.runs.report.png import grey_png
from orchestrator.runs.report.tables import confusion_table, number, table
from workers.storage.typed_json import Json

_MAX_MATRIX = 30
_MAX_CONFUSIONS = 20
_MAX_CLASSES = 100
_NUM_BARS = 30


def test_split(run: Reported) -> str:
    """Return what is known of the predictions for the test split; empty if nothing is."""
    parts = [_classes(run.result)]
    if isinstance(run.test, Predicted):
        parts += [_mistakes(run.test), _numbers(run.test)]
    elif run.test:
        parts.append(f'<p class="sub">No test rows are shown: {escape(run.test)}.</p>')
    return "".join(parts)


def _classes(result: Json) -> str:
    if not result["per_class"]:
        return ""
    # Results of older runs have only numbers of classes.
    classes = [{**row, "name": str(row.get("name", row["class"]))} for row in result["per_class"]]
    counts = result["confusion_matrix"]
    names = [row["name"] for row in classes]
    by_error = sorted(classes, key=lambda row: (row.get("recall") is None, row.get("recall") or 0))
    rows = [
        [
            escape(row["name"]),
            number(row.get("rows"), ",d"),
            number(None if row.get("recall") is None else 1 - row["recall"], ".2%"),
            number(row.get("precision"), ".2%"),
            number(row.get("recall"), ".2%"),
        ]
        for row in by_error[:_MAX_CLASSES]
    ]
    head = ["class", "rows", "error", "precision", "recall"]
    matrix = (
        confusion_table(counts, names) if len(names) <= _MAX_MATRIX else _confusions(counts, names)
    )
    return (
        '<div class="pair"><section><h3>Test split by class, the worst first</h3>'
        f"{table(head, rows)}</section><section><h3>Confusions</h3>{matrix}</section></div>"
    )


def _confusions(counts: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Return the most frequent confusions, where a matrix would be too large."""
    cells = [(n, r, c) for r, row in enumerate(counts) for c, n in enumerate(row) if r != c and n]
    rows = [
        [escape(names[r]), escape(names[c]), f"{n:,}"]
        for n, r, c in sorted(cells, reverse=True)[:_MAX_CONFUSIONS]
    ]
    return table(["true class", "predicted", "rows"], rows)


def _mistakes(test: Predicted) -> str:
    if not test.wrong:
        return ""
    css = "rows" if test.wrong[0].pixels else "rows sequences"
    count = f"{len(test.wrong)} of {test.num_wrong:,} mistakes in {test.num_rows:,} test rows"
    shown = "".join(map(_mistake, test.wrong))
    legend = "".join(
        f'<span class="key c{place % NUM_COLOURS}">{escape(name)}</span>'
        for place, name in enumerate(test.features)
    )
    head = f'<h3>Most confidently wrong</h3><p class="sub">{count}. {legend}</p>'
    return f'{head}<div class="{css}">{shown}</div>'


def _mistake(row: WrongRow) -> str:
    truth, said = escape(row.truth), escape(row.predicted)
    picture = _picture(row, f"{truth}, taken for {said} ({row.probability:.1%})")
    return (
        f"<figure>{picture}<figcaption><b>{truth}</b>, taken for <b>{said}</b><br>"
        f"{row.probability:.1%}<br>row {row.number:,}</figcaption></figure>"
    )


def _picture(row: WrongRow, words: str) -> str:
    if row.pixels:
        data = base64.b64encode(grey_png(row.pixels, row.width)).decode()
        return f'<img src="data:image/png;base64,{data}" alt="{words}">'
    if row.tokens:
        return f'<div class="tokens">{escape(" ".join(row.tokens))}</div>'
    return _small_lines(row.curves, words)


def _small_lines(curves: Sequence[Sequence[float]], words: str) -> str:
    """Return the features of a sequence over its time steps."""
    values = [value for curve in curves for value in curve]
    if not values:
        return ""
    axis, steps = value_axis(values), max(len(curve) for curve in curves)
    lines = []
    for number_of_curve, curve in enumerate(curves):
        points = " ".join(
            f"{4 + 192 * (t / max(1, steps - 1)):.1f},{84 - 76 * axis.place(value):.1f}"
            for t, value in enumerate(curve)
        )
        css = f"line c{number_of_curve % NUM_COLOURS}"
        lines.append(f'<polyline class="{css}" points="{points}"/>')
    return (
        f'<svg viewBox="0 0 200 88" role="img" aria-label="{words}; {steps} time steps">'
        f"{''.join(lines)}</svg>"
    )


def _numbers(test: Predicted) -> str:
    if not test.pairs:
        return ""
    low = min(min(pair) for pair in test.pairs)
    high = max(max(pair) for pair in test.pairs)
    residuals = [predicted - true for true, predicted in test.pairs]
    figures = [
        chart(
            "Predicted against true", "true",
            [
                Series("test rows", 0, sorted(test.pairs), style="dots"),
                Series("equal", 1, [(low, low), (high, high)], dashed=True),
            ],
            note=f"{len(test.pairs):,} of {test.num_rows:,} test rows",
        ),
        chart(
            "Residuals", "predicted - true",
            [Series("rows", 0, histogram(residuals), style="bars")],
            is_count=True, note=f"mean {show(sum(residuals) / len(residuals))}",
        ),
    ]  # fmt: skip
    return f'<h3>Test split</h3><div class="charts">{"".join(figures)}</div>'


def histogram(values: Sequence[float]) -> list[tuple[float, float]]:
    """Return the middle of each bar, and how many values it counts."""
    low, high = min(values), max(values)
    width = (high - low) / _NUM_BARS or 1.0
    counts = [0] * _NUM_BARS
    for value in values:
        counts[min(_NUM_BARS - 1, int((value - low) / width))] += 1
    return [(low + (place + 0.5) * width, float(n)) for place, n in enumerate(counts)]
