"""Whether a disturbed run is the undisturbed one: pure functions over what the two left behind."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from orchestrator import runs
from orchestrator.drill.outcomes import LOST, MISSED, SURVIVED, FaultOutcome
from workers.jsons import Json

_MEASURED = ("epoch", "loss", "accuracy", "rows", "lr", "gradient_norm")
"""Of a step: what hangs neither on time nor on workers. JSON keeps every bit of a number."""
_WHOLE = {"rows_seen_twice": 0, "rows_dropped": 0}


@dataclass(frozen=True)
class Left:
    """What a run left."""

    run_id: str
    state: str
    reason: str
    result: Json
    records: list[Json]
    """Of metrics.jsonl."""

    @property
    def steps(self) -> list[Json]:
        return [record for record in self.records if record.get("kind") == "step"]

    def to_json(self) -> Json:
        return {
            "run_id": self.run_id,
            "state": self.state,
            "reason": self.reason,
            "weights_sha256": self.result.get("weights_sha256"),
            "steps": len(self.steps),
            "attempts": self.result.get("attempts"),
            "wall_s": self.result.get("wall_s"),
        }


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    name: str
    ok: bool
    undisturbed: str
    disturbed: str

    def to_json(self) -> Json:
        return asdict(self)


def checks_of(
    undisturbed: Left, disturbed: Left, faults: Sequence[FaultOutcome], num_steps: int, rows: int
) -> list[Check]:
    """Args:
    num_steps: of the whole job.
    rows: of the training split.
    """
    return [
        _state(undisturbed, disturbed),
        _weights(undisturbed, disturbed),
        _steps_once(undisturbed, disturbed, num_steps),
        _step_values(undisturbed, disturbed),
        _rows(undisturbed, disturbed, rows),
        _faults(faults),
        _repeats(faults),
    ]


def _state(undisturbed: Left, disturbed: Left) -> Check:
    told = disturbed.state + (f": {disturbed.reason}" if disturbed.reason else "")
    both = undisturbed.state == disturbed.state == runs.SUCCEEDED
    return Check("state", both, undisturbed.state, told if not both else disturbed.state)


def _weights(undisturbed: Left, disturbed: Left) -> Check:
    ours, theirs = (str(left.result.get("weights_sha256")) for left in (undisturbed, disturbed))
    same = ours == theirs and undisturbed.result.get("weights_sha256") is not None
    return Check("weights", same, ours[:16], theirs[:16])


def _steps_once(undisturbed: Left, disturbed: Left, num_steps: int) -> Check:
    """Each step is on record once, in order."""
    wanted = list(range(1, num_steps + 1))
    counted = [[step["step"] for step in left.steps] for left in (undisturbed, disturbed)]
    ok = all(steps == wanted for steps in counted)
    return Check("every step once", ok, *(_told_steps(steps, wanted) for steps in counted))


def _told_steps(steps: list[int], wanted: list[int]) -> str:
    if steps == wanted:
        return str(len(steps))
    missing = len(set(wanted) - set(steps))
    return f"{len(steps)} of {len(wanted)}: {missing} missing, {len(steps) - len(set(steps))} twice"


def _step_values(undisturbed: Left, disturbed: Left) -> Check:
    """Loss, accuracy, rows, learning rate and gradient norm of each step, bit for bit."""
    ours, theirs = (
        {s["step"]: [s.get(key) for key in _MEASURED] for s in left.steps}
        for left in (undisturbed, disturbed)
    )
    differing = sorted(step for step in ours if ours[step] != theirs.get(step))
    told = f"differs at {len(differing)}, first at {differing[0]}" if differing else "the same"
    return Check("loss of every step", bool(ours) and not differing, "", told)


def _rows(undisturbed: Left, disturbed: Left, rows: int) -> Check:
    """Each row of the training split once in every epoch."""
    ours, theirs = (_epochs(left) for left in (undisturbed, disturbed))
    once = all(_is_whole(epoch, rows) for epoch in theirs)
    seen = [_seen(left) for left in (undisturbed, disturbed)]
    same = ours == theirs and bool(theirs) and seen[0] == seen[1]
    return Check("rows of every epoch once", once and same, *(f"{num:,}" for num in seen))


def _epochs(left: Left) -> list[Json]:
    account: list[Json] = left.result.get("data_account") or []
    return account


def _is_whole(epoch: Json, rows: int) -> bool:
    """One that the job ends in the middle of has rows that it did not reach."""
    reached = epoch.get("rows_seen", 0) + epoch.get("rows_not_reached", 0)
    return reached == rows and all(epoch.get(key) == value for key, value in _WHOLE.items())


def _seen(left: Left) -> int:
    """Rows that went into the steps on record."""
    return sum(step["rows"] for step in left.steps)


def _faults(faults: Sequence[FaultOutcome]) -> Check:
    """At least one was injected, and none ended the run: a drill without faults proves nothing."""
    counts = {kind: sum(f.outcome == kind for f in faults) for kind in (SURVIVED, LOST, MISSED)}
    told = ", ".join(f"{num} {name}" for name, num in counts.items() if num)
    return Check("faults survived", bool(counts[SURVIVED]) and not counts[LOST], "", told)


def _repeats(faults: Sequence[FaultOutcome]) -> Check:
    """Nothing up to the newest whole checkpoint was computed again."""
    steps = [fault.repeated_steps for fault in faults if fault.repeated_steps is not None]
    beyond = [fault for fault in faults if fault.repeated_too_much]
    told = f"{sum(steps)} steps" + (f", {len(beyond)} time(s) too many" if beyond else "")
    return Check("repeated since the checkpoint only", not beyond, "", told)
