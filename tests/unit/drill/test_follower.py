"""Following a run whose metrics file is rewritten at each restart."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.drill.fault_schedule import Fault
from orchestrator.drill.follower import Follower
from tests.unit.drill.test_verdict import start, step
from tests.unit.folders import empty_run
from workers.records.run_folder import RunFolder

START, AGAIN = start(1, 0, 0.0), start(2, 2, 9.0, workers=1)


def write(run: RunFolder, records: Iterable[dict[str, Any]]) -> None:
    run.storage.write(run.METRICS, "".join(json.dumps(r) + "\n" for r in records).encode())


def test_repeated_steps_are_kept_and_no_record_twice(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    follower = Follower(run)
    follower.read()
    assert (follower.step, follower.attempt, follower.workers) == (0, 0, 0)
    before = [START, *(step(n, float(n)) for n in (1, 2, 3))]
    write(run, before)
    follower.read()
    assert (follower.step, follower.attempt, follower.workers) == (3, 1, 2)
    after = [AGAIN, step(3, 10.0)]
    write(run, [*before[:3], *after])
    follower.read()
    assert follower.records == [*before, *after]
    assert (follower.step, follower.attempt, follower.workers) == (3, 2, 1)


def test_a_fault_is_due_at_its_step_and_never_once_the_run_is_over(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    write(run, [START, step(1, 1.0), step(2, 2.0)])
    follower = Follower(run)
    assert follower.wait_for(Fault("worker", 2, 0), is_over=lambda: False)
    assert not follower.wait_for(Fault("worker", 3, 0), is_over=lambda: True)


def test_damage_is_not_due_before_there_is_a_checkpoint(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run")
    write(run, [START, step(1, 1.0)])
    assert not Follower(run).wait_for(Fault("storage", 1, 0), is_over=lambda: True)
