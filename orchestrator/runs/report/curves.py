"""The curves of training: one colour for each run, or for each split if there is one run."""

from collections.abc import Callable, Sequence

from orchestrator.runs.metrics import metric_name, score_of
from orchestrator.runs.report.axis import LOG_RATIO
from orchestrator.runs.report.charts import Series, chart
from orchestrator.runs.report.content import Reported
from workers.storage.typed_json import Json

_MAX_POINTS = 400


def curves(runs: Sequence[Reported]) -> str:
    """Return the figures of loss, score, learning rate, gradient norm and speed."""
    score = score_name([epoch for run in runs for epoch in run.result["history"]])
    title = metric_name(score)
    return "".join(
        [
            chart(
                "Loss", "step",
                [
                    *_of_steps(runs, "loss", "training"),
                    *_of_epochs(runs, "step", "validation_loss", "validation"),
                ],
                log_ratio=LOG_RATIO,
            ),
            chart(
                title[:1].upper() + title[1:], "epoch",
                [
                    *_of_epochs(runs, "epoch", f"train_{score}", "training"),
                    *_of_epochs(runs, "epoch", f"validation_{score}", "validation"),
                ],
                percent=score == "accuracy",
            ),
            chart("Learning rate", "step", _of_steps(runs, "lr", "rate")),
            chart(
                "Gradient norm, before clipping", "step",
                _of_steps(runs, "gradient_norm", "norm"), log_ratio=LOG_RATIO,
            ),
            chart(
                "Speed", "epoch", _of_epochs(runs, "epoch", "samples_per_s", "samples/s"),
                is_count=True,
            ),
        ]
    )  # fmt: skip


def score_name(epochs: Sequence[Json]) -> str:
    """Return the name of the score in the records of epochs."""
    score = score_of(epochs[0], "train_") if epochs else None
    return score[0] if score else "accuracy"


def _of_steps(runs: Sequence[Reported], key: str, name: str) -> list[Series]:
    def line(run: Reported, label: str, colour: int, dashed: bool) -> Series:
        points, band = thinned([(r["step"], r[key]) for r in run.steps])
        return Series(label, colour, points, dashed, band)

    return _lines(runs, name, line)


def _of_epochs(runs: Sequence[Reported], x: str, y: str, name: str) -> list[Series]:
    def line(run: Reported, label: str, colour: int, dashed: bool) -> Series:
        points = [(epoch[x], epoch[y]) for epoch in run.result["history"] if y in epoch]
        return Series(label, colour, points, dashed)

    return _lines(runs, name, line)


def _lines(
    runs: Sequence[Reported], name: str, line: Callable[[Reported, str, int, bool], Series]
) -> list[Series]:
    is_validation = name == "validation"
    if len(runs) == 1:
        return [line(runs[0], name, int(is_validation), is_validation)]
    suffix = ", validation" if is_validation else ""
    return [
        line(run, f"{run.run_id}{suffix}", number, is_validation) for number, run in enumerate(runs)
    ]


def thinned(
    points: Sequence[tuple[float, float]],
) -> tuple[list[tuple[float, float]], list[tuple[float, float, float]]]:
    """Return the means of so many neighbours that a chart can show them, and their ranges."""
    size = -(-len(points) // _MAX_POINTS)
    if size <= 1:
        return list(points), []
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    means = [(group[-1][0], sum(y for _, y in group) / len(group)) for group in groups]
    band = [(g[-1][0], min(y for _, y in g), max(y for _, y in g)) for g in groups]
    return means, band
