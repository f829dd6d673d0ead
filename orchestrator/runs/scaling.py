"""The curve of a job over the number of its workers: speed, where the time of a step goes, and up
to which number it pays to add workers."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from workers.errors import StorageError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json, mistyped_key

PARTS = ("data", "compute", "exchange", "other")
"""What a step's time goes to. `other` is what worker 0 does between steps: metrics, checkpoints."""
WORTH = 0.5
"""Adding workers pays while each added one brings this share of what each of the fewest brings."""
_NO_LOSS = 0.9
"""With this efficiency, nothing is said to bound the speed."""
_SECONDS = {"data_s": float, "compute_s": float, "exchange_s": float}


@dataclass(frozen=True)
class Point:
    """What a run with one number of workers came to, without its first steps."""

    workers: int
    run_id: str
    steps: int
    rows: int
    seconds: Mapping[str, float]
    """By part, the sums over the steps; those of data, compute and exchange are worker 0's."""
    weights: str | None

    @property
    def samples_per_s(self) -> float:
        return self.rows / sum(self.seconds.values())

    def share(self, part: str) -> float:
        """Return the share of a part in the time of the steps."""
        return self.seconds[part] / sum(self.seconds.values())

    def step_s(self, part: str) -> float:
        """Return the seconds of a part in a mean step."""
        return self.seconds[part] / self.steps


def read_point(run: RunFolder, workers: int, weights: str | None, warm_up: int) -> Point:
    """Read the steps of a run that has ended, but for the first `warm_up` after each start.

    Raises StorageError if there are none.
    """
    steps = list(_timed_steps(run.read_metrics(), warm_up))
    if not steps:
        raise StorageError(
            f"{run.storage.where(run.METRICS)} has no step after the first {warm_up} of a start",
            "take more steps: --steps",
        )
    seconds = {part: sum(each[part] for _, each in steps) for part in PARTS}
    return Point(workers, run.run_id, len(steps), sum(rows for rows, _ in steps), seconds, weights)


def _timed_steps(records: Sequence[Json], warm_up: int) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the rows of each step, and its seconds by part."""
    since_start = 0
    for before, record in pairwise([{}, *records]):
        if record["kind"] == "start":
            since_start = 0
        if record["kind"] != "step":
            continue
        since_start += 1
        seconds = record.get("seconds", {})
        is_timed = seconds.keys() >= _SECONDS.keys() and not mistyped_key(seconds, _SECONDS)
        if since_start > warm_up and is_timed:
            parts = {name.removesuffix("_s"): seconds[name] for name in _SECONDS}
            whole = sum(parts.values())
            # The first step of an epoch comes after a validation, which is no part of it.
            took = record["time"] - before["time"] if before.get("kind") == "step" else whole
            yield record["rows"], {**parts, "other": max(0.0, took - whole)}


@dataclass(frozen=True)
class Curve:
    """The points of one job, from the fewest workers to the most. The first is what the others are
    compared with. Without points, only `to_json` and `weights_are_same` say anything."""

    points: Sequence[Point]
    num_shards: int

    def speed_up(self, point: Point) -> float:
        """Return how many times as fast as the first point a point is."""
        return point.samples_per_s / self.points[0].samples_per_s

    def ideal(self, workers: int) -> float:
        """Return the speed-up if each worker brought what each of the fewest brings."""
        return workers / self.points[0].workers

    def efficiency(self, point: Point) -> float:
        return self.speed_up(point) / self.ideal(point.workers)

    def worth(self, before: Point, after: Point) -> float:
        """Return what each worker that is added between two points brings, as a share of what each
        of the fewest brings."""
        gain = self.speed_up(after) - self.speed_up(before)
        return gain / (self.ideal(after.workers) - self.ideal(before.workers))

    @cached_property
    def last_that_pays(self) -> int:
        """The place of the last point that it pays to go to, step by step."""
        for place, (before, after) in enumerate(pairwise(self.points)):
            if self.worth(before, after) < WORTH:
                return place
        return len(self.points) - 1

    @property
    def bounded(self) -> Point:
        """The point that shows what bounds the speed: the first that does not pay, or the last."""
        return self.points[min(self.last_that_pays + 1, len(self.points) - 1)]

    @property
    def bound(self) -> str:
        """The part of a step that loses most time at `bounded`, empty if hardly any is lost.

        A part loses what it takes beyond its time at the first point, divided by the workers.
        """
        first, last = self.points[0], self.bounded
        if last is first or self.efficiency(last) >= _NO_LOSS:
            return ""
        ideal = self.ideal(last.workers)
        return max(PARTS, key=lambda part: last.step_s(part) - first.step_s(part) / ideal)

    @property
    def weights_are_same(self) -> bool:
        return len({point.weights for point in self.points}) <= 1

    def _bound_to_json(self) -> Json | None:
        return {"part": self.bound, "workers": self.bounded.workers} if self.bound else None

    def to_json(self) -> Json:
        return {
            "schema_version": 1,
            "num_shards": self.num_shards,
            "points": [
                {
                    "workers": point.workers,
                    "run_id": point.run_id,
                    "steps": point.steps,
                    "samples_per_s": point.samples_per_s,
                    "speed_up": self.speed_up(point),
                    "efficiency": self.efficiency(point),
                    "step_s": {part: point.step_s(part) for part in PARTS},
                    "weights_sha256": point.weights,
                }
                for point in self.points
            ],
            "pays_up_to": self.points[self.last_that_pays].workers if self.points else None,
            "bound": self._bound_to_json() if self.points else None,
            "weights": "same" if self.weights_are_same else "different",
        }
