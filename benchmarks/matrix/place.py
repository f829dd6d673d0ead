"""A folder in which commands are run, with storage, state and processes of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
RUN = "r"
"""The id of the run that a disaster befalls."""
JOB = ("submit", "--dataset", "mnist-sample", "--set", "dataset.num_shards=4")
SHORT = ("--epochs", "8", "--checkpoint-every", "5")
MEDIUM = ("--epochs", "15", "--batch-size", "64", "--checkpoint-every", "50")
"""A job that is still at work after its workers were started twice, and can be repeated."""
LONG = ("--epochs", "100000", "--checkpoint-every", "20")
TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Said:
    """What one command answered."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.stdout)
        except ValueError:
            return {}

    @property
    def is_clean(self) -> bool:
        """Whether there is no traceback, and an error is told in few words."""
        is_short = self.code == 0 or len(self.stderr) < 4000
        return "Traceback" not in self.stdout + self.stderr and is_short


@dataclass(frozen=True)
class Place:
    folder: Path
    more: dict[str, str] = field(default_factory=dict)
    """Environment variables of all commands."""

    @property
    def environment(self) -> dict[str, str]:
        own = {"RNNJOB_STATE_DIR": str(self.folder / "state"), "NO_COLOR": "1"}
        return {**os.environ, **own, **self.more}

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a program, `rnnjob` if the first word is no path."""
        command = words if words[0].startswith("/") else (RNNJOB, *words)
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> Said:
        process = self.start(*words)
        try:
            stdout, stderr = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return Said(-9, "", f"no answer within {TIMEOUT_S:g} s")
        return Said(process.returncode, stdout, stderr)

    def path(self, *names: str) -> Path:
        return self.folder.joinpath("runs", RUN, *names)

    def record(self, name: str = "status.json") -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.path(name).read_text())
        return content

    def change(self, name: str, **changes: Any) -> None:
        self.path(name).write_text(json.dumps({**self.record(name), **changes}))

    def wait_for_steps(self, number: int = 8) -> None:
        def there() -> bool:
            metrics = self.path("metrics.jsonl")
            return metrics.exists() and metrics.read_text().count('"kind": "step"') >= number

        wait_for(there)

    def wait_for_attempt(self, number: int) -> None:
        """Wait until the workers have started this often, and train."""
        wait_for(lambda: self.record()["attempt"] >= number)
        wait_for(lambda: self.record()["state"] == "RUNNING")

    def wait_for_end(self) -> None:
        wait_for(lambda: self.record()["ended_at"])


def wait_for(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + TIMEOUT_S
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError("waited in vain")
        time.sleep(0.2)
    return value


@contextmanager
def running(place: Place, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a job, wait until it trains, and end it with all below it afterwards."""
    process = place.start(*JOB, *words, "--run-id", RUN)
    below: set[psutil.Process] = set()
    try:
        place.wait_for_steps()
        below = below_of(process.pid)
        yield process
    finally:
        for each in below | below_of(process.pid):
            with contextlib.suppress(psutil.Error):
                each.kill()
        process.kill()
        process.communicate()


def below_of(pid: int) -> set[psutil.Process]:
    """Return the descendants of a process."""
    with contextlib.suppress(psutil.Error):
        return set(psutil.Process(pid).children(recursive=True))
    return set()


def titled(processes: set[psutil.Process], title: str) -> list[psutil.Process]:
    """Return those with a text in their command line, which Ray sets to the name of an actor."""
    found = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if title in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda each: each.pid)


def driver_of(place: Place) -> psutil.Process:
    """Return the driver of the place's run. No other process is killed in its stead."""
    driver = psutil.Process(place.record()["pid"])
    words = driver.cmdline()
    assert "orchestrator.driver" in words and str(place.path()) in " ".join(words), words
    return driver


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()
