"""What each fault came to, from the records of the run: pure functions."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from orchestrator.drill.faults import Strike
from orchestrator.drill.plan import Fault
from workers.jsons import Json

SURVIVED, MISSED, LOST = "survived", "missed", "not survived"


@dataclass(frozen=True)
class Struck:
    """A fault that was injected, or was to be."""

    fault: Fault
    strike: Strike


@dataclass(frozen=True)
class FaultOutcome:
    """What became of the run by one fault. Steps and seconds are None where it did not go on."""

    kind: str
    step: int
    """Planned."""
    outcome: str
    target: str
    note: str
    reached: int | None = None
    """The highest step that was on record before the run went on."""
    resumed_at: int | None = None
    """The step it went on from."""
    checkpoint: int | None = None
    """The newest whole one when the fault struck."""
    repeated_steps: int | None = None
    lost_s: float | None = None
    """From the last record before the fault to the first one that is beyond it."""
    workers: int | None = None
    """After it."""

    @property
    def repeated_too_much(self) -> bool:
        """A whole checkpoint was there, and the run did not go on from it."""
        known = self.resumed_at is not None and self.checkpoint is not None
        return known and self.resumed_at < self.checkpoint  # type: ignore[operator]

    def to_json(self) -> Json:
        return asdict(self)


def outcomes_of(
    struck: Sequence[Struck], records: Sequence[Json], succeeded: bool
) -> list[FaultOutcome]:
    """Args:
    records: all that the run ever recorded, in that order; repeated steps are there twice.
    succeeded: whether the run came to its end.
    """
    return [_outcome(one, records, succeeded) for one in struck]


def _outcome(struck: Struck, records: Sequence[Json], succeeded: bool) -> FaultOutcome:
    fault, strike = struck.fault, struck.strike
    start = next((i for i, r in enumerate(records) if _is_start_after(r, strike.attempt)), None)
    told = FaultOutcome(fault.kind, fault.step, MISSED, strike.target, strike.note)
    if not strike.hit:
        return told
    if start is None:
        return replace(told, outcome=LOST, note="the workers did not start again")
    before, after = records[:start], records[start:]
    reached = max((r["step"] for r in before if r["kind"] == "step"), default=0)
    resumed_at = after[0]["step"]
    beyond = next((r for r in after if r["step"] > reached or r["kind"] == "test"), None)
    outcome, note = _judged(strike, resumed_at, beyond is not None or succeeded)
    return replace(
        told,
        outcome=outcome,
        note=note,
        reached=reached,
        resumed_at=resumed_at,
        checkpoint=strike.checkpoint,
        repeated_steps=max(0, reached - resumed_at),
        lost_s=round(beyond["time"] - before[-1]["time"], 3) if beyond and before else None,
        workers=after[0]["workers"],
    )


def _is_start_after(record: Json, attempt: int) -> bool:
    return bool(record["kind"] == "start" and record["attempt"] > attempt)


def _judged(strike: Strike, resumed_at: int, went_beyond: bool) -> tuple[str, str]:
    if strike.damaged is not None and resumed_at == strike.damaged:
        return LOST, "the run went on from the damaged checkpoint"
    if not went_beyond:
        return LOST, "the run did not come as far again"
    if strike.damaged is not None and resumed_at > strike.damaged:
        return MISSED, "a newer checkpoint was saved before the worker was gone"
    return SURVIVED, strike.note
