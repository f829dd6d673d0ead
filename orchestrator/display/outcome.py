"""The outcome of a run as names and values, for a table."""

from orchestrator.runs import RunStatus
from orchestrator.runs.metrics import metric_name, metrics_of, score_of, show_metric
from orchestrator.units import show_duration
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


def outcome_rows(run: RunFolder, status: RunStatus, result: Json) -> list[tuple[str, str]]:
    """Return names and values of the facts to print about a run. Unknown values are left out."""

    head, score = result.get("test_head_rows"), score_of(result, "test_head_")
    samples = result.get("samples_per_s")
    rows = [
        ("run", status.run_id),
        ("state", status.state + (f": {status.reason}" if status.reason else "")),
        *_metric_rows(result, "test"),
        (f"  first {head:,} rows" if head else "", show_metric(*score) if score else None),
        *_metric_rows(result, "validation")[:1],
        ("epochs, steps", f"{result.get('epochs', 0)}, {result.get('steps', 0):,}"),
        ("rows trained on", f"{result.get('train_rows_seen', 0):,}"),
        ("samples/s", f"{samples:,.0f}" if samples else None),
        ("time", show_duration(result["wall_s"]) if result.get("wall_s") else None),
        ("mixed hardware", _joined(result.get("mixed_hardware"))),
        ("weights", (result.get("weights_sha256") or "")[:16] or None),
        ("run folder", run.storage.where()),
    ]
    return [(name, value) for name, value in rows if value]


def _joined(content: object) -> str | None:
    """Return the texts of a list in one line; None without any."""
    texts = [str(text) for text in content] if isinstance(content, list) else []
    return "; ".join(texts) or None


def score_name(result: Json) -> str:
    """Return what `outcome_rows` calls the score of the test split."""
    return next((name for name, _ in _metric_rows(result, "test")), "")


def _metric_rows(result: Json, split: str) -> list[tuple[str, str]]:
    metrics = metrics_of(result, f"{split}_")
    return [(f"{split} {metric_name(m)}", show_metric(m, value)) for m, value in metrics.items()]
