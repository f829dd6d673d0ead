"""The supervisor, which is a job's entrypoint on a cluster: it restarts a killed driver."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.driver.environment import told_by_parent
from orchestrator.driver.supervisor import MAX_RESTARTS, signal_that_ended
from tests.conftest import ENOUGH_S

KEEP = """
import sys
from orchestrator.driver.supervisor import keep_running
sys.exit(keep_running(sys.argv[1:]))
"""
DIED, PARENT = told_by_parent("")
DRIVER = f"""
import os, pathlib, signal, sys
log = pathlib.Path(sys.argv[1])
died = os.environ["{DIED}"]
with log.open("a") as file:
    file.write((died or "first") + "\\n")
if log.read_text().count("\\n") <= int(sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(int(sys.argv[3]))
"""


def supervise(*command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", KEEP, sys.executable, *command], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("deaths", "code"), [(0, 0), (0, 5), (2, 0), (1, 1)])
def test_a_killed_driver_is_started_again_and_a_driver_that_exits_is_not(
    tmp_path: Path, deaths: int, code: int
) -> None:
    supervisor = supervise("-c", DRIVER, str(tmp_path / "log"), str(deaths), str(code))
    _, stderr = supervisor.communicate(timeout=ENOUGH_S)
    assert supervisor.returncode == code
    died = "the driver was killed by SIGKILL"
    assert (tmp_path / "log").read_text().splitlines() == ["first", *[died] * deaths]
    assert stderr.count(died) == deaths


def test_a_driver_that_always_dies_is_given_up(tmp_path: Path) -> None:
    supervisor = supervise("-c", DRIVER, str(tmp_path / "log"), "1000", "0")
    supervisor.communicate(timeout=ENOUGH_S)
    assert supervisor.returncode == 128 + signal.SIGKILL
    assert len((tmp_path / "log").read_text().splitlines()) == 1 + MAX_RESTARTS


def test_sigterm_is_passed_to_the_driver(tmp_path: Path) -> None:
    stops_on_sigterm = (
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(60)"
    )
    supervisor = supervise("-c", stops_on_sigterm, str(tmp_path / "ready"))
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    os.kill(supervisor.pid, signal.SIGTERM)
    supervisor.communicate(timeout=ENOUGH_S)
    assert supervisor.returncode == 5


def test_a_driver_that_dies_of_a_stop_request_is_not_started_again(tmp_path: Path) -> None:
    """A driver has no signal handler yet while it loads."""
    loads = (
        "import sys, time, pathlib\n"
        "with pathlib.Path(sys.argv[1]).open('a') as log: log.write('started\\n')\n"
        "time.sleep(60)"
    )
    supervisor = supervise("-c", loads, str(tmp_path / "log"))
    while not (tmp_path / "log").exists():
        time.sleep(0.02)
    os.kill(supervisor.pid, signal.SIGTERM)
    supervisor.communicate(timeout=ENOUGH_S)
    assert supervisor.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "log").read_text() == "started\n"


def test_a_driver_knows_the_process_that_would_start_it_again(tmp_path: Path) -> None:
    compares = f"import os, sys; sys.exit(os.environ['{PARENT}'] != str(os.getppid()))"
    supervisor = supervise("-c", compares)
    supervisor.communicate(timeout=ENOUGH_S)
    assert supervisor.returncode == 0


def test_the_signal_that_ended_a_process_is_named() -> None:
    assert signal_that_ended(0) == signal_that_ended(137) == ""
    assert signal_that_ended(-9) == "the driver was killed by SIGKILL"
    assert signal_that_ended(-11) == "the driver was killed by SIGSEGV"
    assert signal_that_ended(-63) == "the driver was killed by signal 63"
