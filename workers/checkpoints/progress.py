"""How far a job is: the content of a checkpoint's state.json."""

from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints

from workers.config import Metric
from workers.records.record_kinds import is_record
from workers.storage.typed_json import mistyped_key

T = TypeVar("T")


@dataclass
class EpochSums:
    """Sums over all shards since the epoch began. Times are in seconds."""

    loss_sum: float = 0.0
    score_sum: float = 0.0
    """The sum behind the score of the job's target."""
    num_rows: int = 0
    data_s: float = 0.0
    compute_s: float = 0.0
    exchange_s: float = 0.0
    wall_s: float = 0.0


@dataclass
class Best:
    """The validation results of the best epoch so far."""

    epoch: int
    score: float
    """The accuracy of classes, or minus the mean absolute error of numbers."""
    loss: float

    def beats(self, other: "Best | None", metric: Metric) -> bool:
        """Return whether this is better by the metric. If it is equal, the other one decides."""
        return other is None or self._rank(metric) > other._rank(metric)

    def _rank(self, metric: Metric) -> tuple[float, float]:
        rank = (self.score, -self.loss)
        return rank[::-1] if metric == "validation_loss" else rank


@dataclass
class Progress:
    """How far a job is."""

    epoch: int = 0
    """Number of finished epochs."""
    step: int = 0
    """Number of finished steps over all epochs."""
    step_in_epoch: int = 0
    """Number of finished steps of the present epoch."""
    sums: EpochSums = field(default_factory=EpochSums)
    best: Best | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    """The `epoch` records of the finished epochs."""

    @property
    def is_best(self) -> bool:
        """Whether this is the end of the best epoch so far."""
        at_end = self.step_in_epoch == 0
        return at_end and self.best is not None and self.best.epoch == self.epoch

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Progress":
        """Return the progress in a state.json. Raises ValueError, KeyError or TypeError."""
        best, sums = content["best"], _typed(EpochSums, _renamed(content["sums"]))
        best = None if best is None else _typed(Best, _renamed(best))
        progress = cls(**{**content, "sums": sums, "best": best})
        check_types(content, {"epoch": int, "step": int, "step_in_epoch": int, "epochs": list})
        if min(progress.epoch, progress.step, progress.step_in_epoch, sums.num_rows) < 0:
            raise ValueError("a count is below zero")
        if not all(map(_is_epoch, progress.epochs)):
            raise ValueError("an entry of epochs is not the record of one")
        return progress


def _is_epoch(content: Any) -> bool:
    return isinstance(content, dict) and is_record({**content, "kind": "epoch", "time": 0.0})


def _renamed(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content with the names that keys have had since there are targets but classes."""
    names = {"num_correct": "score_sum", "accuracy": "score"}
    return {names.get(key, key): value for key, value in content.items()}


def _typed(cls: type[T], content: dict[str, Any]) -> T:
    check_types(content, get_type_hints(cls))
    return cls(**content)


def check_types(content: dict[str, Any], types: dict[str, Any]) -> None:
    """Raise ValueError if a value has another type."""
    if key := mistyped_key(content, types):
        raise ValueError(f"{key} is {str(content[key])[:80]!r}")
