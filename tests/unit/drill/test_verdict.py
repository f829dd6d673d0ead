"""The verdict on two runs. The tests make each check fail once, because a drill must be able to."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.drill.fault_schedule import Fault
from orchestrator.drill.faults import Injection, missed
from orchestrator.drill.outcomes import (
    LOST,
    MISSED,
    SURVIVED,
    FaultOutcome,
    InjectedFault,
    outcomes_of,
)
from orchestrator.drill.verdict import FinishedRun, compare_runs

NUM_STEPS, ROWS = 8, 32
Record = dict[str, Any]


def start(attempt: int, step: int, time: float, workers: int = 2) -> Record:
    return {"kind": "start", "attempt": attempt, "step": step, "workers": workers, "time": time}


def step(number: int, time: float) -> Record:
    epoch = 1 + (number - 1) // 4
    return {
        "kind": "step", "step": number, "epoch": epoch, "loss": 1 / number, "accuracy": 0.5,
        "rows": 8, "lr": 0.1, "gradient_norm": 1.0, "time": time,
    }  # fmt: skip


def finished_run() -> FinishedRun:
    account = [
        {"epoch": epoch, "rows_seen": ROWS, "rows_seen_twice": 0, "rows_dropped": 0,
         "rows_not_reached": 0}
        for epoch in (1, 2)
    ]  # fmt: skip
    records = [start(1, 0, 0.0), *(step(n, float(n)) for n in range(1, NUM_STEPS + 1))]
    result = {"weights_sha256": "ab" * 32, "test_accuracy": 0.9, "data_account": account}
    return FinishedRun("one", "SUCCEEDED", "", result, records)


# What a follower sees: step 5 is done, but the newest checkpoint is of step 4, so 5 is done again.
SEEN = [
    start(1, 0, 0.0),
    *(step(n, float(n)) for n in range(1, 6)),
    start(2, 4, 20.0),
    step(5, 21.0),
    step(6, 22.0),
]
HIT = Injection(hit=True, target="pid 1 killed", checkpoint=4, attempt=1)


def outcome(
    injection: Injection = HIT, kind: str = "worker", seen: list[Record] = SEEN
) -> FaultOutcome:
    return outcomes_of([InjectedFault(Fault(kind, 5, 0), injection)], seen, succeeded=True)[0]


def failing(
    change: Callable[[FinishedRun], None], faults: list[FaultOutcome] | None = None
) -> set[str]:
    """Return the names of the checks that fail once a copy of the undisturbed run is changed."""
    disturbed = copy.deepcopy(finished_run())
    change(disturbed)
    faults = [outcome()] if faults is None else faults
    checks = compare_runs(finished_run(), disturbed, faults, NUM_STEPS, ROWS)
    return {check.name for check in checks if not check.ok}


def test_a_run_that_is_the_same_passes_all_checks() -> None:
    assert failing(lambda _: None) == set()


def other_weights(run: FinishedRun) -> None:
    run.result["weights_sha256"] = "cd" * 32


def no_weights(run: FinishedRun) -> None:
    run.result["weights_sha256"] = None


def other_score(run: FinishedRun) -> None:
    run.result["test_accuracy"] = 0.91


def a_step_is_missing(run: FinishedRun) -> None:
    del run.records[3]


def a_step_is_recorded_twice(run: FinishedRun) -> None:
    run.records.insert(3, run.records[3])


def one_bit_of_a_loss(run: FinishedRun) -> None:
    run.records[4]["loss"] *= 1 + 2**-52


def a_row_is_seen_twice(run: FinishedRun) -> None:
    run.result["data_account"][1] |= {"rows_seen_twice": 1}


def rows_are_dropped(run: FinishedRun) -> None:
    run.result["data_account"][0] |= {"rows_seen": ROWS - 1, "rows_dropped": 1}


def an_epoch_is_missing(run: FinishedRun) -> None:
    del run.result["data_account"][1]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (other_weights, {"weights"}),
        (no_weights, {"weights"}),
        (other_score, {"test score"}),
        (a_step_is_missing, {"every step once", "loss of every step", "rows of every epoch once"}),
        (a_step_is_recorded_twice, {"every step once", "rows of every epoch once"}),
        (one_bit_of_a_loss, {"loss of every step"}),
        (a_row_is_seen_twice, {"rows of every epoch once"}),
        (rows_are_dropped, {"rows of every epoch once"}),
        (an_epoch_is_missing, {"rows of every epoch once"}),
    ],
)
def test_a_run_that_was_changed_differs(
    change: Callable[[FinishedRun], None], names: set[str]
) -> None:
    assert failing(change) == names


def test_a_run_that_failed_differs() -> None:
    disturbed = FinishedRun("two", "FAILED", "a worker failed", {}, finished_run().records[:5])
    checks = compare_runs(finished_run(), disturbed, [outcome()], NUM_STEPS, ROWS)
    bad = {check.name: check.disturbed for check in checks if not check.ok}
    assert bad["state"] == "FAILED: a worker failed"
    assert {"weights", "every step once", "rows of every epoch once"} <= set(bad)


def test_the_cost_of_a_fault_follows_from_the_records() -> None:
    found = outcome()
    assert (found.outcome, found.reached, found.resumed_at) == (SURVIVED, 5, 4)
    assert (found.repeated_steps, found.lost_s, found.workers) == (1, 17.0, 2)


def test_each_of_two_faults_has_the_restart_that_came_after_it() -> None:
    seen = [*SEEN, start(3, 6, 40.0, workers=1), step(7, 41.0)]
    second = Injection(hit=True, checkpoint=6, attempt=2)
    faults = [
        InjectedFault(Fault("worker", 5, 0), HIT),
        InjectedFault(Fault("resize", 6, 0), second),
    ]
    found = outcomes_of(faults, seen, succeeded=True)
    assert [f.resumed_at for f in found] == [4, 6]
    assert [f.repeated_steps for f in found] == [1, 0]
    assert [f.workers for f in found] == [2, 1]


def test_a_process_that_was_suspended_goes_on_without_a_start() -> None:
    seen = [start(1, 0, 0.0), step(1, 1.0), step(2, 2.0), step(3, 22.5), step(4, 23.0)]
    pause = Injection(hit=True, checkpoint=2, attempt=1, until=22.0)
    [found] = outcomes_of([InjectedFault(Fault("suspend", 2, 0), pause)], seen, succeeded=True)
    assert (found.outcome, found.reached, found.repeated_steps) == (SURVIVED, 2, 0)
    assert found.lost_s == 20.5
    [lost] = outcomes_of([InjectedFault(Fault("suspend", 2, 0), pause)], seen[:3], succeeded=False)
    assert lost.outcome == LOST


def test_a_fault_after_the_last_step_is_survived_by_the_test_that_comes_again() -> None:
    done = [start(1, 0, 0.0), *(step(n, float(n)) for n in range(1, 9))]
    again = [start(2, 8, 20.0), {"kind": "test", "step": 8, "time": 25.0}]
    found = outcome(Injection(hit=True, checkpoint=8, attempt=1), seen=[*done, *again])
    assert (found.outcome, found.repeated_steps, found.lost_s) == (SURVIVED, 0, 17.0)


def test_a_fault_that_hit_nothing_is_missed_and_a_drill_without_one_proves_nothing() -> None:
    found = outcome(missed("the run was over"))
    assert (found.outcome, found.note) == (MISSED, "the run was over")
    assert failing(lambda _: None, [found]) == {"faults survived"}
    assert failing(lambda _: None, [found, outcome()]) == set()


def test_a_run_that_did_not_start_again_did_not_survive() -> None:
    found = outcome(seen=SEEN[:6])
    assert found.outcome == LOST
    assert failing(lambda _: None, [found]) == {"faults survived"}


def test_steps_up_to_an_intact_checkpoint_may_not_be_repeated() -> None:
    found = outcome(Injection(hit=True, checkpoint=5, attempt=1))
    assert found.repeated_too_much
    assert failing(lambda _: None, [found]) == {"repeated since the checkpoint only"}


def test_going_on_from_a_damaged_checkpoint_is_not_survival() -> None:
    found = outcome(Injection(hit=True, checkpoint=2, damaged=4, attempt=1), "storage")
    assert found.outcome == LOST and "damaged checkpoint" in found.note


def test_damage_to_a_checkpoint_that_the_run_did_not_need_was_missed() -> None:
    found = outcome(Injection(hit=True, checkpoint=1, damaged=2, attempt=1), "storage")
    assert found.outcome == MISSED and "newer checkpoint" in found.note
