"""Compare a disturbed run with the undisturbed one. All functions are pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from orchestrator import runs
from orchestrator.drill.outcomes import LOST, MISSED, SURVIVED, FaultOutcome
from orchestrator.runs.metrics import score_of, show_metric
from workers.records.record_kinds import SCORES
from workers.storage.typed_json import Json

_MEASURED = ("epoch", "loss", *SCORES, "rows", "lr", "gradient_norm")
"""The keys of a step's record that depend neither on time nor on the number of workers.

JSON keeps every bit of a number, so equal values mean equal bits.
"""
_COMPLETE = {"rows_seen_twice": 0, "rows_dropped": 0}


@dataclass(frozen=True)
class FinishedRun:
    """The outcome and the records of a run that is over."""

    run_id: str
    state: str
    reason: str
    result: Json
    records: list[Json]
    """All records of metrics.jsonl."""

    @property
    def steps(self) -> list[Json]:
        return [record for record in self.records if record.get("kind") == "step"]

    def to_json(self) -> Json:
        return {
            "run_id": self.run_id,
            "state": self.state,
            "reason": self.reason,
            "weights_sha256": self.result.get("weights_sha256"),
            "test_accuracy": self.result.get("test_accuracy"),
            "steps": len(self.steps),
            "attempts": self.result.get("attempts"),
            "wall_s": self.result.get("wall_s"),
        }


@dataclass(frozen=True)
class Check:
    """One condition that must hold, with what each run shows."""

    name: str
    ok: bool
    undisturbed: str
    disturbed: str

    def to_json(self) -> Json:
        return asdict(self)


def compare_runs(
    undisturbed: FinishedRun,
    disturbed: FinishedRun,
    faults: Sequence[FaultOutcome],
    num_steps: int,
    rows: int,
) -> list[Check]:
    """Return all checks of a drill.

    Args:
        num_steps: the number of steps of the whole job.
        rows: the number of rows of the training split.
    """
    return [
        _state(undisturbed, disturbed),
        _weights(undisturbed, disturbed),
        _score(undisturbed, disturbed),
        _steps_once(undisturbed, disturbed, num_steps),
        _step_values(undisturbed, disturbed),
        _rows(undisturbed, disturbed, rows),
        _faults(faults),
        _repeats(faults),
    ]


def _state(undisturbed: FinishedRun, disturbed: FinishedRun) -> Check:
    described = disturbed.state + (f": {disturbed.reason}" if disturbed.reason else "")
    both = undisturbed.state == disturbed.state == runs.SUCCEEDED
    return Check("state", both, undisturbed.state, described if not both else disturbed.state)


def _weights(undisturbed: FinishedRun, disturbed: FinishedRun) -> Check:
    expected, actual = (str(r.result.get("weights_sha256")) for r in (undisturbed, disturbed))
    same = expected == actual and undisturbed.result.get("weights_sha256") is not None
    return Check("weights", same, expected[:16], actual[:16])


def _score(undisturbed: FinishedRun, disturbed: FinishedRun) -> Check:
    """Compare the score on the test split. It also shows that the job learns something."""
    expected, actual = (score_of(run.result, "test_") for run in (undisturbed, disturbed))
    texts = ["-" if score is None else show_metric(*score) for score in (expected, actual)]
    return Check("test score", expected == actual and expected is not None, *texts)


def _steps_once(undisturbed: FinishedRun, disturbed: FinishedRun, num_steps: int) -> Check:
    """Check that each step is recorded once, in order."""
    wanted = list(range(1, num_steps + 1))
    recorded = [[step["step"] for step in run.steps] for run in (undisturbed, disturbed)]
    ok = all(steps == wanted for steps in recorded)
    return Check("every step once", ok, *(_describe_steps(steps, wanted) for steps in recorded))


def _describe_steps(steps: list[int], wanted: list[int]) -> str:
    if steps == wanted:
        return str(len(steps))
    missing = len(set(wanted) - set(steps))
    return f"{len(steps)} of {len(wanted)}: {missing} missing, {len(steps) - len(set(steps))} twice"


def _step_values(undisturbed: FinishedRun, disturbed: FinishedRun) -> Check:
    """Compare loss, score, rows, learning rate and gradient norm of each step, bit for bit."""
    expected, actual = (
        {s["step"]: [s.get(key) for key in _MEASURED] for s in run.steps}
        for run in (undisturbed, disturbed)
    )
    differing = sorted(step for step in expected if expected[step] != actual.get(step))
    detail = "the same"
    if differing:
        detail = f"differs at {len(differing)} step(s), first at step {differing[0]}"
    return Check("loss of every step", bool(expected) and not differing, "", detail)


def _rows(undisturbed: FinishedRun, disturbed: FinishedRun, rows: int) -> Check:
    """Check that every epoch used each row of the training split once."""
    expected, actual = (_epochs(run) for run in (undisturbed, disturbed))
    once = all(_is_complete(epoch, rows) for epoch in actual)
    seen = [_rows_seen(run) for run in (undisturbed, disturbed)]
    same = expected == actual and bool(actual) and seen[0] == seen[1]
    return Check("rows of every epoch once", once and same, *(f"{num:,}" for num in seen))


def _epochs(run: FinishedRun) -> list[Json]:
    account: list[Json] = run.result.get("data_account") or []
    return account


def _is_complete(epoch: Json, rows: int) -> bool:
    """Whether the epoch accounts for each row once. The job may end before it reaches all rows."""
    reached = epoch.get("rows_seen", 0) + epoch.get("rows_not_reached", 0)
    return reached == rows and all(epoch.get(key) == value for key, value in _COMPLETE.items())


def _rows_seen(run: FinishedRun) -> int:
    """Return the number of rows in all recorded steps."""
    return sum(step["rows"] for step in run.steps)


def _faults(faults: Sequence[FaultOutcome]) -> Check:
    """Check that the run survived a fault and was lost to none.

    A drill that injects no fault proves nothing.
    """
    counts = {kind: sum(f.outcome == kind for f in faults) for kind in (SURVIVED, LOST, MISSED)}
    detail = ", ".join(f"{num} {name}" for name, num in counts.items() if num)
    return Check("faults survived", bool(counts[SURVIVED]) and not counts[LOST], "", detail)


def _repeats(faults: Sequence[FaultOutcome]) -> Check:
    """Check that no step up to the newest intact checkpoint was computed again."""
    steps = [fault.repeated_steps for fault in faults if fault.repeated_steps is not None]
    beyond = [fault for fault in faults if fault.repeated_too_much]
    detail = f"{sum(steps)} steps" + (f", {len(beyond)} time(s) too many" if beyond else "")
    return Check("repeated since the checkpoint only", not beyond, "", detail)
