"""What all tests share: the installed `rnnjob`, run as people run it."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest_plugins = ["tests.skips", "pytester"]
ENOUGH_S = 300.0
"""Longer than any command of a test takes, also on two cores with a load of four."""
HANG_S = 60.0
"""A command that answers within seconds and takes this long waits for what does not come."""
GONE_S = 30.0
"""How long a process may take to see that it is no longer wanted."""
ROOT = Path(__file__).parent.parent
"""The checkout."""
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
    program: Path = RNNJOB

    def start(self, *arguments: str, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(self.program), *arguments],
            cwd=self.cwd,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str, timeout: float = 2 * ENOUGH_S, **more: str) -> Finished:
        process = self.start(*arguments, **more)
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return Finished(process.returncode, stdout, stderr)


def pytest_configure() -> None:
    """Handle the signals that a script in the background ignores (`nohup make test &`).

    A child process inherits what is ignored, and Python then handles no Ctrl-C.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(scope="session")
def temp_root() -> Iterator[Path]:
    """A temporary folder for all that these tests start, by which their processes are told.

    Its path is short, since Ray puts sockets below it, or rnnjob would take /tmp instead.
    """
    root = Path(f"/tmp/r{secrets.token_hex(2)}")
    root.mkdir(mode=0o700)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory, temp_root: Path) -> dict[str, str]:
    """This process's environment without rnnjob's and Ray's settings, and with a cache, a
    state folder and a temporary folder of its own."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RNNJOB_", "RAY_")) and name != "PYTHONPATH"
    }
    own = {
        "RNNJOB_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "RNNJOB_STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "TMPDIR": str(temp_root),
        "XDG_DATA_DIRS": str(temp_root / "share"),  # without the data sets of the system
    }
    return {**kept, **own, "NO_COLOR": "1"}


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


def wait_for(condition: Callable[[], Any], timeout: float = ENOUGH_S) -> Any:
    """Return the first true value of a condition, looked at ten times a second."""
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
def no_process_left(temp_root: Path) -> Iterator[None]:
    """After the test, nothing runs that it started, Ray's processes among them."""
    before = started_by_tests(temp_root)
    yield
    # An agent of Ray's that lost its raylet sees it within seconds, and ends by itself.
    with contextlib.suppress(AssertionError):
        wait_for(lambda: not started_by_tests(temp_root) - before, timeout=GONE_S)
    left = started_by_tests(temp_root) - before
    assert not left, [command_of(process) for process in left]


def started_by_tests(temp_root: Path) -> set[psutil.Process]:
    """Return the processes of these tests, and no other of the same user.

    They are told by the temporary folder of the tests in their environment or command line or, if
    they wrote a title over both as Ray's do, by their working folder below it.
    """
    return {process for process in psutil.process_iter() if _belongs(process, str(temp_root))}


def _belongs(process: psutil.Process, root: str) -> bool:
    if process.pid == os.getpid():
        return False
    # Each of these may be refused on its own, and a process may end meanwhile.
    with contextlib.suppress(psutil.Error, OSError):
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
    with contextlib.suppress(psutil.Error, OSError):
        if process.cwd().startswith(root):
            return True
    with contextlib.suppress(psutil.Error, OSError):
        if process.environ().get("TMPDIR", "").startswith(root):
            return True
    return any(root in word for word in command_of(process))


def command_of(process: psutil.Process) -> list[str]:
    """Return the command line; empty if the process is gone, or a zombie."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
