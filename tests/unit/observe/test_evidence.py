"""What the lease of a run's owner says of the run, on this machine and on another."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.observe.evidence import evidence_here
from orchestrator.runs import Process, RunStatus
from workers.records.owners import Owner
from workers.records.ownership import beat, release, take
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

ELSEWHERE = {"host": "elsewhere", "pid": 1}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = runs.create_run(Storage(str(tmp_path)), "a", "name: x\n", "local")
    runs.write_status(run, RunStatus("a", "RUNNING", "local", **ELSEWHERE))
    return run


@pytest.fixture
def owned(run: RunFolder) -> Callable[..., Owner]:
    """Return a function that takes the run up for a process of another machine."""

    def own(silent_s: float, **values: object) -> Owner:
        owner = replace(take(run, None, "local", ""), beats=1, **{**ELSEWHERE, **values})
        run.write_json("owners/1.json", owner.to_json())
        beat(run, owner)
        told = run.read_json(run.HEARTBEAT) or {}
        run.write_json(run.HEARTBEAT, {**told, "beat_at": time.time() - silent_s})
        return owner

    return own


def lease(run: RunFolder) -> bool | None:
    return evidence_here(run, runs.read_status(run)).has_lease


def test_without_an_owner_nothing_is_known(run: RunFolder) -> None:
    evidence = evidence_here(run, runs.read_status(run))
    assert (evidence.process, evidence.has_lease) == (Process.ELSEWHERE, None)
    assert evidence.seen_at is None


@pytest.mark.parametrize(
    ("silent_s", "expected"), [(0.0, True), (3.0, True), (20.0, None), (90.0, False), (-90, False)]
)
def test_an_owner_on_another_machine_is_judged_by_its_heartbeat(
    run: RunFolder, owned: Callable[..., Owner], silent_s: float, expected: bool | None
) -> None:
    owned(silent_s)
    assert lease(run) is expected


def test_an_owner_here_is_judged_by_its_process(
    run: RunFolder, owned: Callable[..., Owner]
) -> None:
    here = runs.this_process()
    owned(90.0, **here)
    assert lease(run) is True
    run.write_json("owners/1.json", {**(run.read_json("owners/1.json") or {}), "pid_started": 1.0})
    assert lease(run) is False


def test_an_owner_that_let_go_has_no_lease(run: RunFolder, owned: Callable[..., Owner]) -> None:
    release(run, owned(0.0))
    evidence = evidence_here(run, runs.read_status(run))
    assert (evidence.has_lease, evidence.is_released) == (False, True)


def test_who_only_claimed_the_run_for_a_job_says_nothing_of_the_job(
    run: RunFolder, owned: Callable[..., Owner]
) -> None:
    owned(0.0, is_claim=True)
    assert lease(run) is None
