"""A process is told from a later one with its id, whatever the clock says."""

import os
import sys

import psutil
import pytest

from workers.records import processes
from workers.records.processes import lives, start_of

HERE = os.getpid()


def test_a_process_is_still_the_same_after_somebody_set_the_clock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if sys.platform != "linux":
        pytest.skip("only on Linux do start times depend on the present clock")
    started = start_of()
    boot = psutil.boot_time()
    monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: boot + 3 * 3600.0)
    assert psutil.Process().create_time() > boot + 3 * 3600.0  # what a clock set ahead changes
    assert lives(HERE, started)


def test_the_start_times_of_earlier_versions_are_known() -> None:
    unix_time = psutil.Process().create_time()
    assert lives(HERE, unix_time)
    assert not lives(HERE, unix_time - 60)


def test_another_start_time_is_another_process() -> None:
    started = start_of()
    assert started is not None
    assert not lives(HERE, started + 60)
    assert not lives(HERE, None)


@pytest.mark.parametrize("started", [None, 0.0])
def test_a_start_that_is_not_known_is_that_of_no_process(started: float | None) -> None:
    """Above all not of process 1, which starts with the machine: its descendants are all others."""
    assert not lives(1, started)
    assert not lives(HERE, started)


def test_a_process_of_another_boot_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    started = start_of()
    assert started is not None and lives(HERE, started)
    begin = processes._begin_of_boot()
    monkeypatch.setattr(processes, "_begin_of_boot", lambda: begin + processes._BOOT_S)
    assert lives(HERE, started) == (sys.platform != "linux")


@pytest.mark.parametrize("pid", [-1, 2**22 + 1, 2**70])
def test_what_is_no_process_did_not_start(pid: int) -> None:
    assert start_of(pid) is None
    assert not lives(pid, 1.0)
    assert not lives(pid, 1.8e9)
