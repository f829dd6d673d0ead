"""Whatever a record says, the process below which are all others is never ended."""

from collections.abc import Callable
from typing import Any

import psutil
import pytest

from orchestrator.cluster import local_processes
from orchestrator.driver import private_ray
from workers.records import ray_reports


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Record signals instead of sending them."""
    sent: list[tuple[str, int]] = []

    def recorded(name: str) -> Callable[..., None]:
        return lambda process, *_: sent.append((name, getattr(process, "pid", process)))

    for name in ("terminate", "kill", "send_signal", "suspend"):
        monkeypatch.setattr(psutil.Process, name, recorded(name))
    monkeypatch.setattr(ray_reports.os, "kill", recorded("os.kill"))
    return sent


@pytest.mark.parametrize("end", [local_processes.end, private_ray.end])
def test_process_1_is_not_ended(
    signals: list[tuple[str, int]], end: Callable[[list[psutil.Process], float], Any]
) -> None:
    end([psutil.Process(1)], 0.01)
    assert signals == []


@pytest.mark.parametrize("pid", [-1, 0, 1])
def test_a_report_of_many_processes_kills_none(signals: list[tuple[str, int]], pid: int) -> None:
    ray_reports._kill(pid)
    assert signals == []
