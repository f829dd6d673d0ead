"""The drill: a job undisturbed, the same job with faults, and what that proves."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from orchestrator import runs
from orchestrator.drill.follower import Follower
from orchestrator.drill.outcomes import FaultOutcome, Struck, outcomes_of
from orchestrator.drill.plan import Fault
from orchestrator.drill.stage import Stage
from orchestrator.drill.verdict import Check, Left, checks_of
from orchestrator.runs import RunStatus
from workers.errors import JobError
from workers.jsons import Json
from workers.run_folder import RunFolder

SCHEMA_VERSION = 1
Note = Callable[[str], None]


def undisturbed_id(run_id: str) -> str:
    return f"{run_id}-undisturbed"


def disturbed_id(run_id: str) -> str:
    return f"{run_id}-disturbed"


@dataclass(frozen=True)
class Drill:
    """What is to be done."""

    run_id: str
    """Of the two runs, the first part."""
    seed: int
    faults: tuple[Fault, ...]
    num_steps: int
    train_rows: int


@dataclass(frozen=True)
class Report:
    """What a drill found."""

    drill: Drill
    where: str
    undisturbed: Left
    disturbed: Left
    faults: list[FaultOutcome]
    checks: list[Check]
    wall_s: float

    @property
    def equal(self) -> bool:
        """Nothing was lost: all that was compared is the same, and a fault was survived."""
        return all(check.ok for check in self.checks)

    def to_json(self) -> Json:
        return {
            "schema_version": SCHEMA_VERSION,
            "equal": self.equal,
            "seed": self.drill.seed,
            "where": self.where,
            "planned": [asdict(fault) for fault in self.drill.faults],
            "faults": [fault.to_json() for fault in self.faults],
            "checks": [check.to_json() for check in self.checks],
            "undisturbed": self.undisturbed.to_json(),
            "disturbed": self.disturbed.to_json(),
            "wall_s": round(self.wall_s, 1),
        }


def run_drill(drill: Drill, undisturbed: Stage, disturbed: Stage, note: Note) -> Report:
    """Raises JobError where the undisturbed run fails, or one cannot be started; whatever happens,
    nothing of the two runs on."""
    begun = time.monotonic()
    ours = _undisturbed(undisturbed_id(drill.run_id), undisturbed, note)
    with contextlib.closing(disturbed):
        run = disturbed.start(disturbed_id(drill.run_id))
        note(f"{run.run_id}: with faults, on {disturbed.where}")
        follower = Follower(run)
        struck = list(_disturb(drill.faults, disturbed, follower, note))
        follower.wait_until(lambda: False, disturbed.is_over)
        theirs = _left(run, disturbed.status())
    faults = outcomes_of(struck, follower.records, theirs.state == runs.SUCCEEDED)
    checks = checks_of(ours, theirs, faults, drill.num_steps, drill.train_rows)
    wall_s = time.monotonic() - begun
    return Report(drill, disturbed.where, ours, theirs, faults, checks, wall_s)


def _undisturbed(run_id: str, stage: Stage, note: Note) -> Left:
    with contextlib.closing(stage):
        run = stage.start(run_id)
        note(f"{run.run_id}: undisturbed, on {stage.where}")
        Follower(run).wait_until(lambda: False, stage.is_over)
        left = _left(run, stage.status())
    if left.state != runs.SUCCEEDED:
        raise JobError(
            f"the undisturbed run {run_id} {left.state}: {left.reason}",
            f"see {runs.next_command(run, 'show')}; there is nothing to hold a drill against",
        )
    return left


def _disturb(
    faults: Sequence[Fault], stage: Stage, follower: Follower, note: Note
) -> Iterator[Struck]:
    """One fault after the other, each when the run has got over the one before."""
    for fault in faults:
        strike = stage.strike(fault, follower)
        follower.look()
        yield Struck(fault, strike)
        told = strike.target if strike.hit else f"missed: {strike.note}"
        note(f"step {follower.step}: {fault.kind}: {told}")
        if strike.hit:
            with follower.looking():
                stage.mend(fault)
            _recovered(stage, follower, note)


def _recovered(stage: Stage, follower: Follower, note: Note) -> None:
    reached, begun = follower.step, time.monotonic()
    if follower.wait_until(lambda: follower.step > reached, stage.is_over):
        note(f"step {follower.step}: beyond it after {time.monotonic() - begun:.1f} s")


def _left(run: RunFolder, status: RunStatus) -> Left:
    return Left(
        run_id=run.run_id,
        state=status.state,
        reason=status.reason,
        result=run.read_json(run.RESULT) or {},
        records=run.read_metrics(),
    )
