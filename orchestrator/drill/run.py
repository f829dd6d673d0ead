"""Run a drill: run a job undisturbed, run it again with faults, and compare the two runs."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

from orchestrator import runs
from orchestrator.drill.fault_schedule import Fault
from orchestrator.drill.follower import Follower
from orchestrator.drill.outcomes import FaultOutcome, InjectedFault, outcomes_of
from orchestrator.drill.stage import Stage
from orchestrator.drill.verdict import Check, FinishedRun, compare_runs
from orchestrator.runs import RunStatus
from workers.errors import JobError
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json

SCHEMA_VERSION = 1
Note = Callable[[str], None]
"""A function that shows one line about the drill's progress."""


def undisturbed_id(run_id: str) -> str:
    return f"{run_id}-undisturbed"


def disturbed_id(run_id: str) -> str:
    return f"{run_id}-disturbed"


@dataclass(frozen=True)
class Drill:
    """The plan of a drill."""

    run_id: str
    """The first part of the ids of the two runs."""
    seed: int
    faults: tuple[Fault, ...]
    num_steps: int
    train_rows: int


@dataclass(frozen=True)
class Report:
    """The result of a drill."""

    drill: Drill
    where: str
    undisturbed: FinishedRun
    disturbed: FinishedRun
    faults: list[FaultOutcome]
    checks: list[Check]
    wall_s: float

    @property
    def equal(self) -> bool:
        """Whether nothing was lost: all compared values are equal, and a fault was survived."""
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
    """Run the job on both stages and compare the runs. No process of either run remains.

    Raises JobError if the undisturbed run fails, or if a run cannot be started.
    """
    begun = time.monotonic()
    expected = _run_undisturbed(undisturbed_id(drill.run_id), undisturbed, note)
    with contextlib.closing(disturbed):
        run = disturbed.start(disturbed_id(drill.run_id))
        note(f"{run.run_id}: with faults, on {disturbed.where}")
        follower = Follower(run)
        injected = list(_disturb(drill.faults, disturbed, follower, note))
        follower.wait_until(lambda: False, disturbed.is_over)
        actual = _finished_run(run, disturbed.status())
    faults = outcomes_of(injected, follower.records, actual.state == runs.SUCCEEDED)
    checks = compare_runs(expected, actual, faults, drill.num_steps, drill.train_rows)
    wall_s = time.monotonic() - begun
    return Report(drill, disturbed.where, expected, actual, faults, checks, wall_s)


def _run_undisturbed(run_id: str, stage: Stage, note: Note) -> FinishedRun:
    with contextlib.closing(stage):
        run = stage.start(run_id)
        note(f"{run.run_id}: undisturbed, on {stage.where}")
        Follower(run).wait_until(lambda: False, stage.is_over)
        finished = _finished_run(run, stage.status())
    if finished.state != runs.SUCCEEDED:
        raise JobError(
            f"the undisturbed run {run_id} ended as {finished.state}: {finished.reason}",
            f"see {runs.next_command(run, 'show')}; a drill needs this run for its comparison",
        )
    return finished


def _disturb(
    faults: Sequence[Fault], stage: Stage, follower: Follower, note: Note
) -> Iterator[InjectedFault]:
    """Inject one fault after the other, each once the run has recovered from the one before."""
    for fault in faults:
        injection = stage.inject(fault, follower)
        follower.read()
        yield InjectedFault(fault, injection)
        effect = injection.target if injection.hit else f"missed: {injection.note}"
        note(f"step {follower.step}: {fault.kind}: {effect}")
        if injection.hit:
            with follower.reading_in_background():
                stage.recover(fault)
            _wait_for_next_step(stage, follower, note)


def _wait_for_next_step(stage: Stage, follower: Follower, note: Note) -> None:
    reached, begun = follower.step, time.monotonic()
    if follower.wait_until(lambda: follower.step > reached, stage.is_over):
        note(f"step {follower.step}: recovered after {time.monotonic() - begun:.1f} s")


def _finished_run(run: RunFolder, status: RunStatus) -> FinishedRun:
    return FinishedRun(
        run_id=run.run_id,
        state=status.state,
        reason=status.reason,
        result=run.read_json(run.RESULT) or {},
        records=run.read_metrics(),
    )
