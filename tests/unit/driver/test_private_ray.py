"""What jobs on this machine leave behind is found once their processes were killed, and removed."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.driver import private_ray
from orchestrator.driver.environment import RAY_DIR
from tests.conftest import ENOUGH_S, Cli

START = """
import os, subprocess, sys
from orchestrator.driver import private_ray
folder = private_ray.create_folder()
left = subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(600)", *sys.argv[1:]],
    env={**os.environ, "RNNJOB_RAY_DIR": str(folder)}, start_new_session=True,
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
)
print(folder, left.pid, flush=True)
os._exit(9)
"""


@pytest.fixture
def temp_dir(temp_root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(temp_root))
    return temp_root


def killed_client(temp_dir: Path, *words: str) -> tuple[Path, int]:
    """Return the folder of a client that died, and the process that it left behind."""
    done = subprocess.run(
        [sys.executable, "-c", START, *words],
        env={**os.environ, "TMPDIR": str(temp_dir)},
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
    )
    folder, pid = done.stdout.split()
    return Path(folder), int(pid)


@pytest.fixture
def left(temp_dir: Path) -> Iterator[tuple[Path, int]]:
    folder, pid = killed_client(temp_dir)
    yield folder, pid
    private_ray.remove(folder)


def test_what_a_killed_job_left_is_found_and_removed_and_nothing_else(
    temp_dir: Path, left: tuple[Path, int]
) -> None:
    assert RAY_DIR == "RNNJOB_RAY_DIR"
    folder, pid = left
    mine = private_ray.create_folder()
    foreign = temp_dir / "rnnjob-foreign"
    foreign.mkdir()
    (foreign / "client.json").write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    (found,) = private_ray.find_leftovers()
    assert found.folder == folder and [process.pid for process in found.processes] == [pid]
    private_ray.remove(found.folder)
    assert not folder.exists() and not any(process.is_running() for process in found.processes)
    assert mine.exists() and foreign.exists()
    assert private_ray.find_leftovers() == []


def test_a_driver_that_lives_is_left_alone(temp_dir: Path) -> None:
    """It sees that its client is gone, saves a checkpoint and removes its folder itself."""
    folder, _ = killed_client(temp_dir, "orchestrator.driver")
    try:
        assert folder not in [each.folder for each in private_ray.find_leftovers()]
    finally:
        private_ray.remove(folder)


def test_the_doctor_tells_and_the_command_removes(
    rnnjob: Cli, temp_dir: Path, left: tuple[Path, int]
) -> None:
    folder, _ = left
    told = rnnjob("doctor", "--dataset", "mnist-sample").stdout
    assert f"1 folder(s) and 1 process(es) of jobs that were killed: {folder}" in told
    assert "Try: rnnjob cluster clean" in told
    cleaned = rnnjob("cluster", "clean", "--json")
    assert cleaned.exit_code == 0, cleaned.stderr
    assert cleaned.json["removed"] == [{"folder": str(folder), "processes": 1}]
    assert not folder.exists()
    assert "nothing is left behind" in rnnjob("cluster", "clean").stderr
