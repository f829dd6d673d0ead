"""See from the reports of the workers when a job stands still, and for whom the others wait."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from workers.records.activity import EXCHANGE, KNOWN_TO_TAKE_LONG, Report

_USUAL_STEPS = 30
_AT_LEAST_S = 15.0
_SILENT_S = 8.0
"""How old the last report of a worker that lives may be. A machine with too much to do is late."""


@dataclass(frozen=True)
class Standstill:
    """A job whose workers take no steps."""

    since: float
    """Unix time."""
    for_s: float
    """How long it lasts, by a clock that nobody sets."""
    step: int
    """The last step that was taken."""
    waits_for: tuple[Report, ...]
    """The workers for which the others wait. Empty if all wait for each other."""
    are_silent: bool
    """Whether these workers give no sign of life."""

    def describe(self) -> str:
        """Return after which step, and for whom the others wait, as a part of a sentence."""
        return f"after step {self.step}: {self._who()}"

    def _who(self) -> str:
        if not self.waits_for:
            return "all workers wait for each other"
        first = self.waits_for[0]
        does = "gives no sign of life" if self.are_silent else first.doing
        more = f", and {len(self.waits_for) - 1} more" if len(self.waits_for) > 1 else ""
        who = f"worker {first.rank} on {first.host} (pid {first.pid})"
        return f"it waits for {who}, which {does}{more}"


class StandstillWatch:
    """Looks at the reports again and again. Evaluations and checkpoints count as progress, as long
    as the worker that does them gives a sign of life."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall_clock = clock, wall_clock
        self._seen: dict[int, tuple[int, float]] = {}
        """By rank: the number of the last report, and when it was new."""
        self.start_again(1)

    def start_again(self, num_workers: int) -> None:
        """Begin to watch other workers, who have started just now: each has reported since."""
        self._num_workers = num_workers
        self._seen = {}
        self._mark: tuple[int, int] | None = None
        self._progress_at, self._since = self._clock(), self._wall_clock()

    def look(self, told: Sequence[Report]) -> Standstill | None:
        """Return the standstill of the workers; None while they take steps."""
        now = self._clock()
        # Of the workers before there may have been more, whose reports are still there.
        reports = [r for r in told if r.rank < self._num_workers]
        for report in reports:
            if self._seen.get(report.rank, (None, 0.0))[0] != report.beats:
                self._seen[report.rank] = report.beats, now
        silent = [r for r in reports if now - self._seen[r.rank][1] > _SILENT_S]
        living = [r for r in reports if r not in silent]
        mark = max((r.step for r in reports), default=0), sum(r.num_exchanges for r in reports)
        if mark != self._mark or any(r.doing in KNOWN_TO_TAKE_LONG for r in living):
            self._mark = mark
            self._progress_at, self._since = now, self._wall_clock()
        usual_s = max((r.step_s for r in reports), default=0.0)
        if not reports or now - self._progress_at <= max(_AT_LEAST_S, _USUAL_STEPS * usual_s):
            return None
        waits_for = silent or [r for r in living if r.doing != EXCHANGE]
        for_s = now - self._progress_at
        return Standstill(self._since, for_s, mark[0], tuple(waits_for), bool(silent))
