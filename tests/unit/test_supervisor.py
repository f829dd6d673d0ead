"""A job's entrypoint on a cluster: a driver that was killed is started again."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator.supervisor import DIED, KEEPER, MOST_RESTARTS, what_ended

KEEP = "import sys; from orchestrator.supervisor import keep; sys.exit(keep(sys.argv[1:]))"
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


def keep(*command: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", KEEP, sys.executable, *command], stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("deaths", "code"), [(0, 0), (0, 5), (2, 0), (1, 1)])
def test_a_killed_driver_is_started_again_and_one_that_leaves_is_not(
    tmp_path: Path, deaths: int, code: int
) -> None:
    kept = keep("-c", DRIVER, str(tmp_path / "log"), str(deaths), str(code))
    _, stderr = kept.communicate(timeout=60)
    assert kept.returncode == code
    died = "the driver was killed by SIGKILL"
    assert (tmp_path / "log").read_text().splitlines() == ["first", *[died] * deaths]
    assert stderr.count(died) == deaths


def test_one_that_always_dies_is_given_up(tmp_path: Path) -> None:
    kept = keep("-c", DRIVER, str(tmp_path / "log"), "1000", "0")
    kept.communicate(timeout=120)
    assert kept.returncode == 128 + signal.SIGKILL
    assert len((tmp_path / "log").read_text().splitlines()) == 1 + MOST_RESTARTS


def test_sigterm_is_for_the_driver(tmp_path: Path) -> None:
    waits = (
        "import signal, sys, time, pathlib\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(60)"
    )
    kept = keep("-c", waits, str(tmp_path / "ready"))
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    os.kill(kept.pid, signal.SIGTERM)
    kept.communicate(timeout=30)
    assert kept.returncode == 5


def test_one_that_is_to_stop_and_dies_of_it_is_not_started_again(tmp_path: Path) -> None:
    """While it loads, a driver has no handler yet."""
    loads = (
        "import sys, time, pathlib\n"
        "with pathlib.Path(sys.argv[1]).open('a') as log: log.write('started\\n')\n"
        "time.sleep(60)"
    )
    kept = keep("-c", loads, str(tmp_path / "log"))
    while not (tmp_path / "log").exists():
        time.sleep(0.02)
    os.kill(kept.pid, signal.SIGTERM)
    kept.communicate(timeout=30)
    assert kept.returncode == 128 + signal.SIGTERM
    assert (tmp_path / "log").read_text() == "started\n"


def test_a_driver_is_told_who_would_start_it_again(tmp_path: Path) -> None:
    tells = f"import os, sys; sys.exit(os.environ['{KEEPER}'] != str(os.getppid()))"
    kept = keep("-c", tells)
    kept.communicate(timeout=30)
    assert kept.returncode == 0


def test_what_ended_a_process_is_told_in_words() -> None:
    assert what_ended(0) == what_ended(137) == ""
    assert what_ended(-9) == "the driver was killed by SIGKILL"
    assert what_ended(-11) == "the driver was killed by SIGSEGV"
    assert what_ended(-63) == "the driver was killed by signal 63"
