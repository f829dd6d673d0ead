"""The content of the records of metrics.jsonl, by their `kind`.

- `start`  at each start or restart: attempt, step, workers and the CPUs of each, Unix time, the
           cost of the restart, the node and device of worker 0 and the hash of its arithmetic;
           if that is not the same everywhere, `mixed_hardware`, the machines of this start, and
           `other_devices`, those that computed earlier steps of the run
- `step`   after each step: epoch, step, loss, score, rows, lr, gradient_norm, and the `seconds` in
           which worker 0 waited for data, computed, and exchanged
- `epoch`  after each epoch: see `workers.train`
- `test`   the results of the final model on the test split

The score has the name of a metric: `accuracy` for classes, `mae` for numbers.
"""

from typing import Any

from workers.storage.typed_json import Json, mistyped_key

_ALL = {"kind": str, "step": int, "time": float}
_REQUIRED: dict[str, dict[str, Any]] = {
    "start": {"attempt": int, "workers": int},
    "step": {
        "epoch": int,
        "loss": float,
        "rows": int,
        "lr": float,
        "gradient_norm": float,
    },
    "epoch": {
        "epoch": int,
        "train_loss": float,
        "train_s": float,
        "samples_per_s": float,
        "data_s": float,
        "compute_s": float,
        "exchange_s": float,
        "rows_seen": int,
        "rows_seen_twice": int,
        "rows_dropped": int,
    },
    "test": {"loss": float},
}
SCORES = ("accuracy", "mae")
_SCORE_PREFIX = {"step": "", "epoch": "train_", "test": ""}
_OPTIONAL = {
    "cpus_per_worker": int,
    "repeated_steps": int,
    "idle_s": float,
    "device": str,
    "arithmetic_sha256": str,
    "node": str,
    "mixed_hardware": str,
    "other_devices": str,
    "rows_not_reached": int,
    "seconds": dict,
    "validation_s": float,
    "validation_loss": float,
    **{
        f"{prefix}{name}": float
        for prefix in ("", "train_", "validation_")
        for name in (*SCORES, "rmse", "r2")
    },
}


def is_record(content: Json) -> bool:
    """Return whether a record holds everything that readers of its kind rely on.

    Other keys may have any value. A kind that only a later version knows may have any other keys.
    """
    kind = content.get("kind")
    required = {**_ALL, **(_REQUIRED.get(kind, {}) if isinstance(kind, str) else {})}
    if not required.keys() <= content.keys() or mistyped_key(content, {**_OPTIONAL, **required}):
        return False
    prefixes = [_SCORE_PREFIX[kind]] if kind in _SCORE_PREFIX else []
    if any(key.startswith("validation_") and key != "validation_s" for key in content):
        prefixes.append("validation_")
    return all(
        f"{prefix}loss" in content and any(f"{prefix}{name}" in content for name in SCORES)
        for prefix in prefixes
    )
