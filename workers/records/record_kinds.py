"""The content of the records of metrics.jsonl, by their `kind`.

- `start`  at each start or restart: attempt, step, workers, Unix time, the cost of the restart, the
           device and the hash of its arithmetic; `other_devices`, which computed steps of the run
           with another arithmetic
- `step`   after each step: epoch, step, loss, accuracy, rows, lr, gradient_norm
- `epoch`  after each epoch: see `workers.train`
- `test`   the results of the final model on the test split
"""

from typing import Any

from workers.storage.typed_json import Json, mistyped_key

_ALL = {"kind": str, "step": int, "time": float}
_REQUIRED: dict[str, dict[str, Any]] = {
    "start": {"attempt": int, "workers": int},
    "step": {
        "epoch": int,
        "loss": float,
        "accuracy": float,
        "rows": int,
        "lr": float,
        "gradient_norm": float,
    },
    "epoch": {
        "epoch": int,
        "train_loss": float,
        "train_accuracy": float,
        "train_s": float,
        "samples_per_s": float,
        "data_s": float,
        "compute_s": float,
        "exchange_s": float,
        "rows_seen": int,
        "rows_seen_twice": int,
        "rows_dropped": int,
    },
    "test": {"loss": float, "accuracy": float},
}
_VALIDATION = {"validation_loss": float, "validation_accuracy": float}
_OPTIONAL = {
    "repeated_steps": int,
    "idle_s": float,
    "device": str,
    "arithmetic_sha256": str,
    "other_devices": str,
    "rows_not_reached": int,
    "validation_s": float,
    **_VALIDATION,
}


def is_record(content: Json) -> bool:
    """Return whether a record holds everything that readers of its kind rely on.

    Other keys may have any value. A kind that only a later version knows may have any other keys.
    """
    kind = content.get("kind")
    required = {**_ALL, **(_REQUIRED.get(kind, {}) if isinstance(kind, str) else {})}
    if _VALIDATION.keys() & content.keys():
        required |= _VALIDATION
    is_complete = required.keys() <= content.keys()
    return is_complete and mistyped_key(content, {**_OPTIONAL, **required}) is None
