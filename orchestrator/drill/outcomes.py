"""Derive the outcome of each fault from the records of the run. All functions are pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from orchestrator.drill.fault_schedule import Fault
from orchestrator.drill.faults import Injection
from workers.storage.typed_json import Json

SURVIVED, MISSED, LOST = "survived", "missed", "not survived"


@dataclass(frozen=True)
class InjectedFault:
    """A planned fault, and what injecting it did."""

    fault: Fault
    injection: Injection


@dataclass(frozen=True)
class FaultOutcome:
    """The effect of one fault on the run. Steps and seconds are None if the run did not go on."""

    kind: str
    step: int
    """The step for which the fault was planned."""
    outcome: str
    """SURVIVED, MISSED or LOST."""
    target: str
    note: str
    reached: int | None = None
    """The highest step that was on record before the run went on."""
    resumed_at: int | None = None
    """The step from which the run went on."""
    checkpoint: int | None = None
    """The step of the newest intact checkpoint when the fault was injected."""
    repeated_steps: int | None = None
    lost_s: float | None = None
    """Seconds from the last record before the restart to the first one beyond `reached`."""
    workers: int | None = None
    """The number of workers after the fault."""

    @property
    def repeated_too_much(self) -> bool:
        """Whether the run went on from an earlier step than its newest intact checkpoint."""
        known = self.resumed_at is not None and self.checkpoint is not None
        return known and self.resumed_at < self.checkpoint  # type: ignore[operator]

    def to_json(self) -> Json:
        return asdict(self)


def outcomes_of(
    injected: Sequence[InjectedFault], records: Sequence[Json], succeeded: bool
) -> list[FaultOutcome]:
    """Return the outcome of each fault.

    Args:
        records: all records that the run ever wrote, in their order, with repeated steps.
        succeeded: whether the run reached its end.
    """
    return [_outcome(fault, records, succeeded) for fault in injected]


def _outcome(injected: InjectedFault, records: Sequence[Json], succeeded: bool) -> FaultOutcome:
    fault, injection = injected.fault, injected.injection
    if injection.hit and injection.until is not None:
        return _outcome_of_a_pause(injected, records, injection.until)
    start = next((i for i, r in enumerate(records) if _is_start_after(r, injection.attempt)), None)
    missed = FaultOutcome(fault.kind, fault.step, MISSED, injection.target, injection.note)
    if not injection.hit:
        return missed
    if start is None:
        return replace(missed, outcome=LOST, note="the workers did not start again")
    before, after = records[:start], records[start:]
    reached = max((r["step"] for r in before if r["kind"] == "step"), default=0)
    resumed_at = after[0]["step"]
    beyond = next((r for r in after if r["step"] > reached or r["kind"] == "test"), None)
    outcome, note = _judge(injection, resumed_at, beyond is not None or succeeded)
    return replace(
        missed,
        outcome=outcome,
        note=note,
        reached=reached,
        resumed_at=resumed_at,
        checkpoint=injection.checkpoint,
        repeated_steps=max(0, reached - resumed_at),
        lost_s=round(beyond["time"] - before[-1]["time"], 3) if beyond and before else None,
        workers=after[0]["workers"],
    )


def _outcome_of_a_pause(
    injected: InjectedFault, records: Sequence[Json], until: float
) -> FaultOutcome:
    """Return the outcome of a fault that suspended a process, which should start nothing again."""
    fault, injection = injected.fault, injected.injection
    found = FaultOutcome(fault.kind, fault.step, LOST, injection.target, "the run did not go on")
    index = next((i for i, r in enumerate(records) if r["time"] >= until), None)
    if not index:
        return found
    before, after = records[:index], records[index:]
    reached = max((r["step"] for r in before if r["kind"] == "step"), default=0)
    resumed_at = after[0]["step"] if after[0]["kind"] == "start" else reached
    return replace(
        found,
        outcome=SURVIVED,
        note=injection.note,
        reached=reached,
        resumed_at=resumed_at,
        checkpoint=injection.checkpoint,
        repeated_steps=max(0, reached - resumed_at),
        lost_s=round(after[0]["time"] - before[-1]["time"], 3),
    )


def _is_start_after(record: Json, attempt: int) -> bool:
    return bool(record["kind"] == "start" and record["attempt"] > attempt)


def _judge(injection: Injection, resumed_at: int, went_beyond: bool) -> tuple[str, str]:
    if injection.damaged is not None and resumed_at == injection.damaged:
        return LOST, "the run went on from the damaged checkpoint"
    if not went_beyond:
        return LOST, "the run did not get beyond the step that it had reached"
    if injection.damaged is not None and resumed_at > injection.damaged:
        return MISSED, "a newer checkpoint was saved before the worker was gone"
    return SURVIVED, injection.note
