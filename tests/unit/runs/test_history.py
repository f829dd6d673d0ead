"""The history of a run: how long it trained with how many workers."""

from typing import Any

from orchestrator.display.outcome import outcome_rows
from orchestrator.runs import RunStatus
from orchestrator.runs.history import mixed_hardware, phases
from workers.records.run_folder import RunFolder


def start(attempt: int, step: int, at: float, workers: int, **cost: float) -> dict[str, Any]:
    return {
        "kind": "start",
        "attempt": attempt,
        "step": step,
        "time": at,
        "workers": workers,
        "cpus_per_worker": 2,
        **cost,
    }


def step(number: int, at: float) -> dict[str, Any]:
    return {"kind": "step", "step": number, "time": at}


def test_a_phase_ends_with_its_last_record_even_if_that_step_was_computed_again() -> None:
    records = [
        start(1, 0, 100.0, 3),
        step(1, 101.0),
        step(2, 102.0),  # step 3 at 104.0 was computed again
        start(2, 2, 110.0, 1, repeated_steps=1, idle_s=6.0),
        step(3, 113.0),
        {"kind": "test", "step": 3, "time": 115.0},
    ]
    assert phases(records) == [
        {
            "attempt": 1,
            "workers": 3,
            "cpus_per_worker": 2,
            "from_step": 0,
            "steps": 2,
            "seconds": 4.0,
            "repeated_steps": 0,
            "idle_s": 0.0,
        },
        {
            "attempt": 2,
            "workers": 1,
            "cpus_per_worker": 2,
            "from_step": 2,
            "steps": 1,
            "seconds": 5.0,
            "repeated_steps": 1,
            "idle_s": 6.0,
        },
    ]


def test_a_run_that_never_started_has_no_phases() -> None:
    assert phases([]) == []
    assert phases([step(1, 1.0)]) == []


def test_machines_that_computed_other_bits_are_named_by_attempt_and_shown() -> None:
    records = [
        {"kind": "start", "attempt": 1, "workers": 2, "mixed_hardware": "a: old; b: new"},
        {"kind": "step", "step": 1},
        {"kind": "start", "attempt": 2, "workers": 1, "node": "c", "device": "newer",
         "other_devices": "a: old"},
        {"kind": "start", "attempt": 3, "workers": 1, "device": "older record"},
    ]  # fmt: skip
    lines = mixed_hardware(records)
    assert lines == ["attempt 1: a: old; b: new", "attempt 2: c: newer, after steps on a: old"]
    run = RunFolder.at("runs/r")
    rows = dict(outcome_rows(run, RunStatus("r", "SUCCEEDED"), {"mixed_hardware": lines}))
    assert rows["mixed hardware"] == "; ".join(lines)
    assert "mixed hardware" not in dict(outcome_rows(run, RunStatus("r", "SUCCEEDED"), {}))
