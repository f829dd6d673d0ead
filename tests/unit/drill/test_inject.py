"""A fault waits for Ray's tables, which lag behind workers that have just started."""

import pytest

from orchestrator.drill import inject
from orchestrator.drill.fault_schedule import Fault
from orchestrator.drill.targets import NO_WORKER, Target

FAULT = Fault("worker", 1, 0)
WORKER = Target("worker", 7, "node")


def test_workers_that_have_just_started_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [NO_WORKER, NO_WORKER, WORKER]
    monkeypatch.setattr(inject, "_POLL_S", 0.0)
    monkeypatch.setattr(inject, "find_target", lambda *_: answers.pop(0))
    assert inject._wait_for_target(FAULT, "job") == WORKER


def test_a_run_without_workers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inject, "_TABLES_LAG_S", 0.0)
    monkeypatch.setattr(inject, "_POLL_S", 0.0)
    monkeypatch.setattr(inject, "find_target", lambda *_: NO_WORKER)
    assert inject._wait_for_target(FAULT, "job") == NO_WORKER
