"""What a worker does at this moment, so that others can see when it stands still."""

import statistics
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import get_type_hints

from workers.storage.typed_json import Json, mistyped_key

STARTING, COMPUTE, EXCHANGE = "starts", "computes", "waits for the others"
EVALUATE, CHECKPOINT, RECORD = "evaluates", "saves a checkpoint", "writes to the storage"
KNOWN_TO_TAKE_LONG = frozenset({STARTING, EVALUATE, CHECKPOINT})
_NUM_STEPS = 50
"""How many of the last steps say how long a step usually takes."""


@dataclass(frozen=True)
class Report:
    """What one worker told of itself last."""

    rank: int
    host: str
    pid: int
    node: str
    """The id of its node in Ray; empty without Ray."""
    step: int
    """The step that it has taken last."""
    doing: str
    """One of the texts above."""
    num_exchanges: int
    """How many exchanges with the others it has begun."""
    step_s: float
    """How long its steps take, as the median of the last ones; 0 if that is not known yet."""
    beats: int
    """Counts up with each report."""

    def to_json(self) -> Json:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Json) -> "Report | None":
        """Return the report, or None if the content is none."""
        whole = set(content) == set(_TYPES) and mistyped_key(content, _TYPES) is None
        return cls(**content) if whole else None


_TYPES = get_type_hints(Report)


class Activity:
    """Written by the thread that trains, read by the one that reports."""

    def __init__(self) -> None:
        self.step, self.doing, self.num_exchanges = 0, STARTING, 0
        self._step_at: float | None = None
        self._seconds: deque[float] = deque(maxlen=_NUM_STEPS)

    @contextmanager
    def now(self, doing: str) -> Iterator[None]:
        """Do something for as long as the context lasts."""
        before, self.doing = self.doing, doing
        self.num_exchanges += doing == EXCHANGE
        try:
            yield
        finally:
            self.doing = before

    def count_step(self, step: int) -> None:
        """Say that a step was taken."""
        now = time.monotonic()
        if self._step_at is not None:
            self._seconds.append(now - self._step_at)
        self.step, self.doing, self._step_at = step, COMPUTE, now

    def report(self, rank: int, host: str, pid: int, node: str, beats: int) -> Report:
        seconds = list(self._seconds)
        step_s = statistics.median(seconds) if seconds else 0.0
        return Report(
            rank, host, pid, node, self.step, self.doing, self.num_exchanges, step_s, beats
        )
