"""The metrics of a run in words: their names, and how their values are shown."""

from workers.records.record_kinds import SCORES
from workers.storage.typed_json import Json

METRICS = (*SCORES, "rmse", "r2")
"""The keys of metrics in results and records, after a prefix such as `test_`."""
_NAMES = {"mae": "MAE", "rmse": "RMSE", "r2": "R²"}


def metrics_of(content: Json, prefix: str) -> dict[str, float]:
    """Return the metrics in a result or a record that have a prefix, without it."""
    found = {name: content.get(f"{prefix}{name}") for name in METRICS}
    return {name: value for name, value in found.items() if value is not None}


def score_of(content: Json, prefix: str) -> tuple[str, float] | None:
    """Return the name and the value of the metric that says most about a run; None without one."""
    return next(iter(metrics_of(content, prefix).items()), None)


def metric_name(name: str) -> str:
    """Return how people write the name of a metric."""
    return _NAMES.get(name, name)


def show_metric(name: str, value: float | None) -> str:
    """Return the value of a metric as text, `-` for None."""
    if value is None:
        return "-"
    return f"{value:.2%}" if name == "accuracy" else f"{value:.4g}"


def describe_score(content: Json, prefix: str) -> str:
    """Return the score with its name, such as `accuracy 95.50%`; empty without one."""
    score = score_of(content, prefix)
    return f"{metric_name(score[0])} {show_metric(*score)}" if score else ""
