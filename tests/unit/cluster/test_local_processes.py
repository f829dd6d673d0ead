"""Find and end the processes of a local cluster, and no others."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from orchestrator.cluster import local_processes
from tests.conftest import ENOUGH_S

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
WITH_CHILD = (
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={})\n"
    f"{SLEEP}"
)
Start = Callable[..., "subprocess.Popen[Any]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started = []

    def run(code: str, *arguments: str, mark: Path | None = None, output: Any = None) -> Any:
        environment = {**os.environ, **({local_processes.MARK: str(mark)} if mark else {})}
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=environment,
            stdout=output or subprocess.PIPE,
        )
        started.append(process)
        if process.stdout:
            assert process.stdout.readline() == b"up\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_processes_are_found_by_their_mark_with_their_descendants(
    start: Start, tmp_path: Path
) -> None:
    parent = start(WITH_CHILD, mark=tmp_path / "n0")
    start(SLEEP, mark=tmp_path.with_name(tmp_path.name + "-another"))
    found = local_processes.find(tmp_path)
    children = psutil.Process(parent.pid).children()
    assert len(children) == 1
    assert {p.pid for p in found} == {parent.pid, children[0].pid}
    assert not local_processes.end(found, 5)


def test_processes_are_found_by_the_folder_of_their_output(
    start: Start, tmp_path: Path, waiting: Callable[..., Any]
) -> None:
    with open(tmp_path / "worker.out", "wb") as output:
        worker = start(SLEEP, output=output)
    waiting(lambda: (tmp_path / "worker.out").read_bytes())
    assert {p.pid for p in local_processes.find(tmp_path)} == {worker.pid}


def test_a_command_line_that_names_the_folder_proves_nothing(start: Start, tmp_path: Path) -> None:
    start(SLEEP, str(tmp_path / "n0" / "raylet.out"))
    assert local_processes.find(tmp_path) == set()


def test_a_process_that_ignores_sigterm_is_killed(start: Start, tmp_path: Path) -> None:
    process = start(STUBBORN, mark=tmp_path)
    assert not local_processes.end(local_processes.find(tmp_path), 0.2)
    assert process.wait(timeout=ENOUGH_S) == -9


def test_a_later_process_with_the_same_pid_is_not_found(
    start: Start, waiting: Callable[..., Any]
) -> None:
    process = start(SLEEP)
    known = local_processes.identify(psutil.Process(process.pid))
    assert {p.pid for p in local_processes.running([known])} == {process.pid}
    assert local_processes.running([replace(known, started=known.started - 60)]) == set()
    process.kill()
    zombie = psutil.Process(process.pid)
    waiting(lambda: zombie.status() == psutil.STATUS_ZOMBIE)
    assert not local_processes.is_alive(zombie)
    process.wait()
    assert local_processes.running([known]) == set()
