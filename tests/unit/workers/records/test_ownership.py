"""One owner of a run at a time, with real processes."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from workers.errors import GoneError, JobError, RunHeldError, StorageError, TakenOverError
from workers.records import ownership
from workers.records.owners import Fence, Owner, read_owner, record_name
from workers.records.ownership import (
    Ownership,
    release,
    revoke,
    take,
    take_for_job,
    wait_until_free,
)
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

SPAWN = multiprocessing.get_context("spawn")
ELSEWHERE = Owner(1, "t", "elsewhere", 7, 1.0, "cluster", "r", taken_at=1.0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return new_run(tmp_path / "r")


def new_run(path: Path) -> RunFolder:
    path.mkdir()
    (path / "job.yaml").write_text("{}\n")
    return RunFolder(Storage(str(path)))


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "_LEASE_S", 1.0)
    monkeypatch.setattr(ownership, "_BEAT_S", 0.1)


def record(run: RunFolder, owner: Owner) -> Owner:
    run.write_json(record_name(owner.term), owner.to_json())
    return owner


def fence_of(run: RunFolder, owner: Owner) -> Fence:
    return Fence(run, owner.term, owner.token)


@contextmanager
def kept(run: RunFolder, owner: Owner) -> Iterator[list[JobError]]:
    lost: list[JobError] = []
    with Ownership(run, owner, lost.append):
        yield lost


def wait_for(condition: Any, timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def try_to_take(folder: str, num_runs: int, barrier: Barrier, results: Any) -> None:
    took = []
    for number in range(num_runs):
        run = RunFolder(Storage(f"{folder}/r{number}"))
        last = wait_until_free(run)
        barrier.wait()
        try:
            took.append((number, take(run, last, "local", "r").term))
        except RunHeldError:
            continue
        finally:
            barrier.wait()
    results.put((os.getpid(), took))
    barrier.wait()


def test_of_processes_that_take_a_run_at_the_same_moment_one_gets_it(tmp_path: Path) -> None:
    num_runs, num_processes = 60, 4
    for number in range(num_runs):
        new_run(tmp_path / f"r{number}")
    barrier, results = SPAWN.Barrier(num_processes), SPAWN.Queue()
    processes = [
        SPAWN.Process(target=try_to_take, args=(str(tmp_path), num_runs, barrier, results))
        for _ in range(num_processes)
    ]
    for process in processes:
        process.start()
    took = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(each for _, of_one in took for each in of_one) == [
        (number, 1) for number in range(num_runs)
    ]
    for pid, of_one in took:
        for number, _ in of_one:
            owner = read_owner(RunFolder(Storage(str(tmp_path / f"r{number}"))))
            assert owner is not None and owner.pid == pid


def test_a_held_run_is_refused_with_who_holds_it_and_since_when(run: RunFolder) -> None:
    with kept(run, take(run, None, "local", "r")):
        with pytest.raises(RunHeldError) as caught:
            wait_until_free(run)
        assert caught.value.exit_code == 2
        assert f"r is held by process {os.getpid()} on " in caught.value.cause
        assert " since 20" in caught.value.cause
        assert "rnnjob stop r" in caught.value.cure
    last = wait_until_free(run)
    assert last is not None and last.is_released and last.beats > 0
    assert take(run, last, "local", "r").term == 2


def take_and_die(folder: str) -> None:
    run = RunFolder(Storage(folder))
    take(run, None, "local", "r")
    os._exit(9)


def test_a_process_that_died_on_this_machine_holds_nothing(run: RunFolder) -> None:
    process = SPAWN.Process(target=take_and_die, args=(str(run.storage.local_path),))
    process.start()
    process.join()
    started = time.monotonic()
    last = wait_until_free(run)
    assert time.monotonic() - started < 1.0
    assert last is not None and (last.term, last.is_released, last.lives) == (1, False, False)


def test_an_owner_elsewhere_is_lost_once_its_heartbeat_stands_still(
    run: RunFolder, short_lease: None
) -> None:
    """Whatever its clock says: it may be hours wrong."""
    record(run, ELSEWHERE)
    for beat_at in (0.0, time.time() + 1e6):
        ownership.beat(run, ELSEWHERE)
        run.write_json(
            run.HEARTBEAT,
            {**(run.read_json(run.HEARTBEAT) or {}), "beat_at": beat_at},
        )
        started = time.monotonic()
        assert wait_until_free(run) is not None
        assert time.monotonic() - started >= 1.0


def test_an_owner_elsewhere_that_lives_keeps_the_run(run: RunFolder, short_lease: None) -> None:
    owner = record(run, ELSEWHERE)
    with kept(run, owner), pytest.raises(RunHeldError, match="process 7 on elsewhere"):
        wait_until_free(run)


def test_an_owner_that_was_taken_for_lost_is_told_so(run: RunFolder, short_lease: None) -> None:
    first = take(run, None, "local", "r")
    with kept(run, first) as lost:
        fence_of(run, first).check()
        second = take(run, first, "cluster", "r.1")
        with pytest.raises(TakenOverError, match=f"taken over by process {os.getpid()} on"):
            fence_of(run, first).check()
        wait_for(lambda: lost)
    assert isinstance(lost[0], TakenOverError)
    fence_of(run, second).check()
    now = read_owner(run)
    assert now == second, "the first owner must not release what it lost"


def test_where_two_could_write_the_same_record_the_last_one_holds_the_run(run: RunFolder) -> None:
    first = take(run, None, "local", "r")
    record(run, ELSEWHERE)
    with pytest.raises(TakenOverError, match="process 7 on elsewhere"):
        fence_of(run, first).check()


def test_the_owner_of_a_deleted_run_is_told_so(run: RunFolder, short_lease: None) -> None:
    owner = take(run, None, "local", "r")
    with kept(run, owner) as lost:
        run.storage.delete()
        wait_for(lambda: lost)
        with pytest.raises(GoneError, match="/r was deleted meanwhile") as caught:
            fence_of(run, owner).check()
        assert caught.value.exit_code == 4
        with pytest.raises(GoneError):
            take(run, owner, "local", "r")
    assert isinstance(lost[0], GoneError)
    assert not run.storage.exists(), "nothing comes back"


def test_a_process_of_the_job_follows_its_claim_and_a_process_that_died(run: RunFolder) -> None:
    take(run, None, "ray", "r.1", is_claim=True)
    driver = take_for_job(run, "ray", "r.1")
    assert driver.term == 2
    with pytest.raises(RunHeldError):
        take_for_job(run, "ray", "r.1")
    with pytest.raises(TakenOverError, match="taken over by process"):
        take_for_job(run, "ray", "r.2")
    release(run, driver)
    assert take_for_job(run, "ray", "r.1").term == 3


def test_a_revoked_run_is_free_and_its_owner_is_told(run: RunFolder) -> None:
    owner = take(run, None, "cluster", "r")
    revoke(run)
    last = wait_until_free(run)
    assert last is not None and (last.term, last.is_released) == (2, True)
    with pytest.raises(TakenOverError):
        fence_of(run, owner).check()


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"pid": "x"}', b'{"host": 1}', b"\xff" * 100, b'{"taken_at": 1e999}']
)
def test_a_damaged_record_holds_nothing_for_long(
    run: RunFolder, short_lease: None, content: bytes
) -> None:
    run.storage.write(record_name(3), content)
    run.storage.write(run.HEARTBEAT, content)
    run.storage.write("owners/x.json", b"")
    assert wait_until_free(run) == Owner(3)
    assert take(run, Owner(3), "local", "r").term == 4


def test_a_storage_that_fails_for_a_while_costs_no_ownership(
    run: RunFolder, short_lease: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = take(run, None, "local", "r")
    with kept(run, owner) as lost:
        wait_for(lambda: run.storage.exists(run.HEARTBEAT))
        with monkeypatch.context() as failing:

            def fail(*_: object) -> None:
                raise StorageError("cannot write it")

            failing.setattr(Storage, "write", fail)
            time.sleep(0.5)
        before = (read_owner(run) or owner).beats
        wait_for(lambda: (read_owner(run) or owner).beats > before)
    assert not lost
