"""What all tests share: the installed `rnnjob`, run as people run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ["tests.skips", "pytester"]
RNNJOB = Path(sys.executable).with_name("rnnjob")


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)

    @property
    def cause(self) -> str:
        """The line that says what was wrong; there must be just one, and one of cure behind it."""
        lines = self.stderr.strip().splitlines()
        assert "Traceback" not in self.stderr, self.stderr
        assert lines[-2].startswith("Error: ") and lines[-1].startswith("Try: "), self.stderr
        assert len(lines) == 2, self.stderr
        return lines[-2].removeprefix("Error: ")

    @property
    def cure(self) -> str:
        return self.stderr.strip().splitlines()[-1].removeprefix("Try: ")


@dataclass(frozen=True)
class Cli:
    """Runs `rnnjob` in a folder of its own."""

    cwd: Path
    environment: dict[str, str]

    def start(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(RNNJOB), *arguments],
            cwd=self.cwd,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, timeout: float = 240, **more: str) -> Finished:
        process = self.start(*arguments, **more)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Finished(process.returncode, stdout, stderr)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """This process's environment without rnnjob's and Ray's settings, and a cache of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RNNJOB_", "RAY_")) and name != "PYTHONPATH"
    }
    return {**kept, "RNNJOB_CACHE_DIR": str(tmp_path_factory.mktemp("cache")), "NO_COLOR": "1"}


@pytest.fixture
def rnnjob(tmp_path: Path, environment: dict[str, str]) -> Cli:
    return Cli(tmp_path, environment)


@pytest.fixture(scope="module")
def module_rnnjob(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Cli:
    """One folder for all tests of a module, to look at the same runs."""
    return Cli(tmp_path_factory.mktemp("work"), environment)


@pytest.fixture
def mnist_dir() -> Path:
    """The folder with the full MNIST, where RNNJOB_DATA_DIR names one."""
    folder = os.environ.get("RNNJOB_DATA_DIR")
    if not folder or not any(Path(folder).glob("train-images-idx3-ubyte*")):
        pytest.skip(
            "needs the idx files of the full MNIST: RNNJOB_DATA_DIR names no folder with them"
        )
    return Path(folder)


def wait_for(condition: Callable[[], Any], timeout: float = 120) -> Any:
    """The first true value of a condition, looked at ten times a second."""
    import time

    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.fixture
def waiting() -> Callable[..., Any]:
    return wait_for


@pytest.fixture
def no_process_left() -> Iterator[None]:
    """After the test, nothing runs that was started during it and belongs to Ray."""
    import psutil

    def ray_processes() -> set[int]:
        names = ("raylet", "gcs_server", "ray::", "orchestrator.driver", "default_worker")
        found = set()
        for process in psutil.process_iter(["cmdline"]):
            words = " ".join(process.info["cmdline"] or [])
            if any(name in words for name in names):
                found.add(process.pid)
        return found

    before = ray_processes()
    yield
    left = ray_processes() - before
    assert not left, [psutil.Process(pid).cmdline() for pid in left]
