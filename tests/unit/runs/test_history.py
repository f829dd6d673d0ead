"""The history of a run: how long it trained with how many workers."""

from typing import Any

from orchestrator.runs.history import phases


def start(attempt: int, step: int, at: float, workers: int, **cost: float) -> dict[str, Any]:
    return {
        "kind": "start",
        "attempt": attempt,
        "step": step,
        "time": at,
        "workers": workers,
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
            "from_step": 0,
            "steps": 2,
            "seconds": 4.0,
            "repeated_steps": 0,
            "idle_s": 0.0,
        },
        {
            "attempt": 2,
            "workers": 1,
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
