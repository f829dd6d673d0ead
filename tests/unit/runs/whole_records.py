"""Build records of metrics.jsonl that have every key on which their readers rely."""

from typing import Any

from workers.storage.typed_json import Json


def start(step: int = 0, attempt: int = 1, **values: Any) -> Json:
    return {"kind": "start", "step": step, "attempt": attempt, "workers": 1, "time": 7.0, **values}


def step(number: int, **values: Any) -> Json:
    content = {"loss": 0.5, "accuracy": 0.5, "rows": 64, "lr": 0.1, "gradient_norm": 1.5}
    return {"kind": "step", "step": number, "epoch": 1, **content, "time": 7.0, **values}


def epoch(number: int, step: int, **values: Any) -> Json:
    content = {"train_loss": 0.5, "train_accuracy": 0.5, "samples_per_s": 64.0, "train_s": 1.0}
    seconds = {"data_s": 0.25, "compute_s": 0.5, "exchange_s": 0.25}
    account = {"rows_seen": 64, "rows_seen_twice": 0, "rows_dropped": 0, "rows_not_reached": 0}
    more = {**content, **seconds, **account, "time": 7.0, **values}
    return {"kind": "epoch", "step": step, "epoch": number, **more}


def outcome(step: int, **values: Any) -> Json:
    return {"kind": "test", "step": step, "loss": 0.5, "accuracy": 0.5, "time": 7.0, **values}
