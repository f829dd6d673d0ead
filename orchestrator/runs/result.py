"""The content of result.json: the outcome of a run, for scripts. Keys are only ever added."""

import time
from typing import TYPE_CHECKING, Any

from orchestrator.runs import RunStatus
from orchestrator.runs.history import mixed_hardware, phases
from orchestrator.runs.metrics import METRICS, metrics_of
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json, mistyped_key

if TYPE_CHECKING:
    from workers.config import TrainJob
    from workers.records.train_result import TrainResult

SCHEMA_VERSION = 1
_TYPES: dict[str, Any] = {
    "run_id": str,
    "state": str,
    "test_loss": float | None,
    "test_rows": int | None,
    "test_head_rows": int | None,
    **{
        f"{prefix}{name}": float | None
        for prefix in ("test_", "test_head_", "validation_")
        for name in METRICS
    },
    "validation_loss": float | None,
    "epochs": int,
    "steps": int,
    "train_rows_seen": int,
    "samples_per_s": float | None,
    "workers": int | None,
    "weights_sha256": str | None,
    "wall_s": float,
}
"""The types of the keys on which other modules rely."""


def read_result(run: RunFolder) -> Json | None:
    """Return the content of result.json; None if it is missing or damaged. Raises StorageError."""
    content = run.read_json(run.RESULT)
    return None if content is None or mistyped_key(content, _TYPES) else content


def build_result(
    run: RunFolder,
    job: "TrainJob | None",
    result: "TrainResult | None",
    status: RunStatus,
    started: float,
) -> Json:
    """Return the content of result.json, from `result` or else from the metrics of the run.

    Args:
        run: the run that has ended.
        job: the job that was trained; None if the run ended before it was planned.
        result: what the training returned; None if it raised an error or its process died.
        status: the terminal status of the run.
        started: Unix time at which this execution began.
    """
    records = run.read_metrics()
    epochs: list[Json] = (
        result.epochs if result else [r for r in records if r.get("kind") == "epoch"]
    )
    test = result.test if result else {}
    best_number = result.best_epoch if result else None
    best_epoch = next(
        (e for e in epochs if e["epoch"] == best_number), epochs[-1] if epochs else {}
    )
    rows_seen = sum(r["rows"] for r in records if r.get("kind") == "step")
    train_s = sum(epoch["train_s"] for epoch in epochs)
    content: Json = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run.run_id,
        "state": status.state,
        "reason": status.reason,
        "mode": status.mode,
        "test_accuracy": test.get("accuracy"),
        **_with_prefix("test_", metrics_of(test, "")),
        "test_loss": test.get("loss"),
        "test_rows": test.get("rows"),
        "validation_accuracy": best_epoch.get("validation_accuracy"),
        **_with_prefix("validation_", metrics_of(best_epoch, "validation_")),
        "validation_loss": best_epoch.get("validation_loss"),
        "best_epoch": best_number,
        "epochs": len(epochs),
        "steps": max((r.get("step", 0) for r in records), default=0),
        "train_rows_seen": rows_seen,
        "samples_per_s": sum(_rows(e) for e in epochs) / train_s if train_s else None,
        "workers": status.workers,
        "attempts": status.attempt,
        "phases": phases(records),
        "mixed_hardware": mixed_hardware(records),
        "precision": job.training.precision if job else None,
        "weights_sha256": result.weights_sha256 if result else None,
        "fingerprint": job.fingerprint if job else None,
        "wall_s": time.time() - started,
        "seconds": {
            key: sum(epoch[key] for epoch in epochs)
            for key in ("data_s", "compute_s", "exchange_s")
        },
        "data_account": [
            {key: epoch[key] for key in _DATA_ACCOUNT if key in epoch} for epoch in epochs
        ],
        "history": [
            {key: value for key, value in epoch.items() if key not in ("kind", "time")}
            for epoch in epochs
        ],
        "per_class": test.get("per_class"),
        "confusion_matrix": test.get("confusion_matrix"),
    }
    if "head_rows" in test:
        content["test_head_rows"] = test["head_rows"]
        content |= _with_prefix("test_head_", metrics_of(test, "head_"))
    return content


def _with_prefix(prefix: str, metrics: dict[str, float]) -> Json:
    return {f"{prefix}{name}": value for name, value in metrics.items()}


_DATA_ACCOUNT = ("epoch", "rows_seen", "rows_seen_twice", "rows_dropped", "rows_not_reached")


def _rows(epoch: dict[str, Any]) -> int:
    return int(epoch["rows_seen"])
