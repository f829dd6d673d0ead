"""What models do while they read: gradients, gates, the score by steps read, one row unrolled.

One model is shown with all its layers. Several are shown in the same charts, by their top layers.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape

from orchestrator.runs.metrics import metric_name
from orchestrator.runs.report.charts import NUM_COLOURS, Series, drawn
from orchestrator.runs.report.figure import Figure
from orchestrator.runs.report.unrolled import unrolled_figure
from workers.errors import InputError
from workers.trained.explain.explanation import Explanation, GateCurve, GradientCurve

_LOG_RATIO = 10.0
"""How a gradient vanishes is seen on a logarithmic axis."""
INPUT, CELL = "input", "cell state"
_CELLS = {"rnn": "RNN", "lstm": "LSTM", "gru": "GRU"}


def over_time(explained: Sequence[Explanation]) -> str:
    """Return the section of a page; empty if nothing was explained."""
    if not explained:
        return ""
    lines = [*map(describe, explained), *rows_read(explained)]
    about = "<br>".join(map(escape, lines))
    shown = "".join(figure.html() for figure in figures(explained).values())
    return f'<h2>While it reads</h2><p class="sub">{about}</p><div class="charts">{shown}</div>'


def describe(found: Explanation) -> str:
    """Return one line about a model."""
    if found.cell == "own":
        return f"{found.name}: a model of your own"
    layers = f"{found.num_layers} layers of " if found.num_layers > 1 else ""
    cut = f"cut every {found.bptt_steps} steps" if found.bptt_steps else "full"
    network = f"{_CELLS[found.cell]}, {layers}{found.hidden_size} units"
    return f"{found.name}: {network}, back-propagation {cut}"


def rows_read(explained: Sequence[Explanation]) -> list[str]:
    """Return a line about the rows that were read, or several if they differ."""
    lines = [
        f"read: the first {found.num_rows:,} rows of the test split of {found.dataset}"
        for found in explained
    ]
    return list(dict.fromkeys(lines))


def figures(explained: Sequence[Explanation]) -> Mapping[str, Figure]:
    """Return the figures by the names that their files have.

    Raises InputError for runs of different tasks, or for too many of them.
    """
    _check(explained)
    return {
        name: figure
        for name, figure in [
            ("gradient", _gradients(explained, of_input=False)),
            ("gradient-input", _gradients(explained, of_input=True)),
            (explained[0].score, _scores(explained)),
            *(each for found in explained for each in _gates(found, len(explained) > 1)),
            *((_name("unrolled", found, explained), _unrolled(found)) for found in explained),
        ]
        if figure
    }


def _check(explained: Sequence[Explanation]) -> None:
    if len(explained) > NUM_COLOURS:
        raise InputError(
            f"{len(explained)} runs do not fit one chart", f"name up to {NUM_COLOURS} of them"
        )
    first = explained[0]
    for found in explained[1:]:
        if found.score != first.score:
            raise InputError(
                f"{first.name} has the metric {metric_name(first.score)} and {found.name} "
                f"{metric_name(found.score)}: they are runs of different tasks",
                "explain the runs of each task alone",
            )


def _gradients(explained: Sequence[Explanation], of_input: bool) -> Figure | None:
    series = [
        line
        for colour, found in enumerate(explained)
        for line in _gradient_lines(found, of_input, colour, len(explained) > 1)
    ]
    what = "the input of each step" if of_input else "the state of each step"
    return drawn(
        f"Gradient of the loss by {what}", "steps before the end", series, log_ratio=_LOG_RATIO,
        dashed=CELL, note=_cuts(series, explained),
    )  # fmt: skip


def _gradient_lines(
    found: Explanation, of_input: bool, colour: int, is_one_of_several: bool
) -> list[Series]:
    curves = [curve for curve in found.gradients if (curve.of == INPUT) == of_input]
    places = list(dict.fromkeys((curve.layer, curve.backwards) for curve in curves))
    if is_one_of_several:
        places = [place for place in places if place == (found.top, False)]
    lines = []
    for curve in curves:
        if (place := (curve.layer, curve.backwards)) in places:
            name = found.name if is_one_of_several else _place(curve, found)
            name = f"{name}, {CELL}" if curve.of == CELL else name
            # No logarithm of zero: behind a cut there is no gradient.
            points = [(float(n), norm) for n, norm in enumerate(curve.norms) if norm > 0]
            own = colour if is_one_of_several else places.index(place) % NUM_COLOURS
            lines.append(Series(name, own, points, dashed=curve.of == CELL))
    return lines


def _place(curve: GradientCurve | GateCurve, found: Explanation) -> str:
    if not curve.layer:
        return INPUT
    layer = f"layer {curve.layer}" if found.num_layers > 1 else "hidden state"
    return f"{layer}, backwards" if curve.backwards else layer


def _cuts(series: Sequence[Series], explained: Sequence[Explanation]) -> str:
    cut = [found.name for found in explained if found.bptt_steps]
    if not cut:
        return "mean over the rows of the norm of each row's gradient"
    return f"zero, and not drawn, where training cuts it: {', '.join(cut)}"


def _scores(explained: Sequence[Explanation]) -> Figure | None:
    score = explained[0].score
    name = metric_name(score)
    series = [
        Series(found.name, colour, list(zip(map(float, found.steps), found.scores, strict=True)))
        for colour, found in enumerate(explained)
    ]
    return drawn(
        f"{name[:1].upper()}{name[1:]} by the number of steps read", "steps read", series,
        percent=score == "accuracy", note="each row is cut after so many steps",
    )  # fmt: skip


def _gates(found: Explanation, is_one_of_several: bool) -> list[tuple[str, Figure | None]]:
    """Return a figure for each direction of each layer; of several models, that of the top."""
    places = list(dict.fromkeys((curve.layer, curve.backwards) for curve in found.gates))
    if is_one_of_several:
        places = [place for place in places if place == (found.top, False)]
    shown = []
    for layer, backwards in places:
        curves = [
            each for each in found.gates if (each.layer, each.backwards) == (layer, backwards)
        ]
        series = [
            Series(
                f"{curve.gate} gate", colour, [(float(t), m) for t, m in enumerate(curve.means, 1)]
            )
            for colour, curve in enumerate(curves)
        ]
        where = f", layer {layer}" if found.num_layers > 1 else ""
        where += ", backwards" if backwards else ""
        file = "gates" + (f"-layer{layer}" if found.num_layers > 1 else "")
        file += "-backwards" if backwards else ""
        note = f"{found.name}{where}: mean over rows and units; 1 is open, 0 is closed"
        name = f"{file}-{_file_name(found)}" if is_one_of_several else file
        shown.append(
            (name, drawn(f"Gates of the {_CELLS[found.cell]}", "time step", series, note=note))
        )
    return shown


def _unrolled(found: Explanation) -> Figure:
    return unrolled_figure(found, f"{found.name}: row {found.unrolled.number:,}, step by step")


def _name(kind: str, found: Explanation, explained: Sequence[Explanation]) -> str:
    return f"{kind}-{_file_name(found)}" if len(explained) > 1 else kind


def _file_name(found: Explanation) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "-", found.name)
