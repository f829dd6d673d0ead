"""What a run folder holds, in a tracker's terms: parameters, metrics, tags, and what is new."""

import json
from dataclasses import dataclass, replace
from typing import Any

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.spec.job_spec import JobSpec
from workers.config import Config
from workers.storage.typed_json import Json, parse_object

_KINDS = ("step", "epoch", "test")
"""The kinds of records with metrics."""
_MAX_VALUE = 500
"""How much of a value is sent. Older servers take no longer ones."""
_RESULT_TAGS = ("weights_sha256", "fingerprint", "precision", "workers", "attempts")
STATES = {runs.SUCCEEDED: "FINISHED", runs.STOPPED: "KILLED", runs.FAILED: "FAILED",
          runs.LOST: "FAILED"}  # fmt: skip
"""MLflow's states of a run that has ended. All others are RUNNING."""


def parameters(spec: JobSpec) -> dict[str, str]:
    """Return the values of a spec by their dotted keys, without keys that are null or empty."""
    return {
        key: _as_text(value)
        for key, value in _leaves(spec)
        if value not in (None, "", (), {}) and not key.startswith("tracking.")
    }


def _leaves(section: Config, prefix: str = "") -> list[tuple[str, Any]]:
    """Return keys and values. A mapping of the user's own, such as `init_args`, is one value."""
    found: list[tuple[str, Any]] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        is_section = isinstance(value, Config)
        found += _leaves(value, f"{prefix}{name}.") if is_section else [(f"{prefix}{name}", value)]
    return found


def _as_text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_MAX_VALUE]


def metrics(record: Json) -> dict[str, float]:
    """Return the numbers of a record, with the names that TensorBoard shows."""
    kind = record["kind"]
    if kind not in _KINDS:
        return {}
    return {
        f"{kind}/{name}": value
        for name, value in record.items()
        if isinstance(value, float) and name != "time"
    }


def tags(status: RunStatus, result: Json) -> dict[str, str]:
    """Return what a list of runs shows of the outcome. An empty text stands for no tag."""
    found = {
        "state": status.state,
        "reason": status.reason,
        "mode": status.mode,
        **{key: result.get(key) for key in _RESULT_TAGS},
    }
    return {
        f"rnnjob.{key}": "" if value is None else str(value)[:_MAX_VALUE]
        for key, value in found.items()
    }


@dataclass(frozen=True)
class Mark:
    """Up to which step the records of each kind were sent. The tracker keeps it.

    A restart of the workers computes steps again, to the same bits, so they are sent once.
    """

    steps: tuple[int, int, int] = (-1, -1, -1)
    """In the order step, epoch, test."""

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Read what `str` wrote. Anything else stands for nothing sent."""
        try:
            steps = [parse_object(text.encode()).get(kind, -1) for kind in _KINDS]
        except ValueError:
            return cls()
        step, epoch, test = (each if isinstance(each, int) else -1 for each in steps)
        return cls((step, epoch, test))

    def __str__(self) -> str:
        return json.dumps(dict(zip(_KINDS, self.steps, strict=True)))

    def covers(self, record: Json) -> bool:
        """Whether a record was sent, or has nothing to be sent."""
        kind = record["kind"]
        return kind not in _KINDS or bool(record["step"] <= self.steps[_KINDS.index(kind)])

    def after(self, record: Json) -> "Mark":
        """Return the mark once this record is sent, too."""
        steps = list(self.steps)
        steps[_KINDS.index(record["kind"])] = record["step"]
        step, epoch, test = steps
        return replace(self, steps=(step, epoch, test))
