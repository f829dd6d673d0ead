"""Disasters of a job in one process, `--local`: each is a context in which the verbs are asked."""

import importlib.util
import json
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.matrix.place import LONG, RUN, SHORT, Place, kill, running

_AHEAD = "+10800"
_SUSPENDED_S = 60.0
_STANDS_STILL_AFTER_S = 20.0


@contextmanager
def killed(place: Place) -> Iterator[Place]:
    with running(place, "--local", *SHORT) as process:
        kill(process)
        yield place


@contextmanager
def suspended(place: Place) -> Iterator[Place]:
    with running(place, "--local", *LONG) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(_SUSPENDED_S)
        yield place


@contextmanager
def awake(place: Place) -> Iterator[Place]:
    with running(place, "--local", *LONG) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(_STANDS_STILL_AFTER_S)
        process.send_signal(signal.SIGCONT)
        time.sleep(3)
        yield place


@contextmanager
def clock_set(place: Place) -> Iterator[Place]:
    """Set the clock of all processes of the place three hours ahead, while the job runs."""
    clock = place.folder / "clock"
    clock.write_text("+0")
    there = replace(place, more={
        "LD_PRELOAD": _faketime_library(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    })  # fmt: skip
    with running(there, "--local", *LONG, "--time", "1h"):
        clock.write_text(_AHEAD)
        time.sleep(5)
        yield there


def _faketime_library() -> str:
    found = list(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if spec := importlib.util.find_spec("libfaketime"):  # a package of PyPI that holds it
        for folder in spec.submodule_search_locations or ():
            found += Path(folder).rglob("libfaketime.so.1")
    if not found:
        sys.exit("this disaster needs libfaketime: apt-get install libfaketime")
    return str(found[0])


@contextmanager
def deleted(place: Place) -> Iterator[Place]:
    with running(place, "--local", *LONG) as process:
        shutil.rmtree(place.path())
        process.wait()
        yield place


@contextmanager
def damaged(place: Place) -> Iterator[Place]:
    with running(place, "--local", *SHORT) as process:
        kill(process)
        place.path("status.json").write_text('{"state": 7')
        yield place


@contextmanager
def edited_while_it_runs(place: Place) -> Iterator[Place]:
    with running(place, "--local", *LONG):
        place.change("status.json", state="SUCCEEDED", exit_code=0, ended_at=time.time())
        time.sleep(3)
        yield place


@contextmanager
def edited(place: Place) -> Iterator[Place]:
    with running(place, "--local", *SHORT) as process:
        kill(process)
        job = place.path("job.yaml")
        lines = job.read_text().splitlines(keepends=True)
        job.write_text("".join("  seed: 8\n" if "  seed:" in line else line for line in lines))
        yield place


@contextmanager
def copied(place: Place) -> Iterator[Place]:
    with running(place, "--local", *SHORT) as process:
        kill(process)
        yield _copy(place)


@contextmanager
def copied_while_it_runs(place: Place) -> Iterator[Place]:
    with running(place, "--local", *LONG):
        there = _copy(place)
        time.sleep(_STANDS_STILL_AFTER_S)
        yield there


def _copy(place: Place) -> Place:
    there = replace(place, folder=place.folder / "elsewhere")
    shutil.copytree(place.path(), there.path())
    return there


@contextmanager
def unreachable(place: Place) -> Iterator[Place]:
    """A run whose cluster is on other machines and does not answer, so nobody knows how it is."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with running(place, "--local", *SHORT) as process:
            kill(process)
        place.change("status.json", mode="cluster", address=address, host="a-node", job_id="")
        for path in place.path("owners").iterdir():
            path.write_text(json.dumps({**json.loads(path.read_text()), "host": "a-node"}))
        place.change("heartbeat.json", beat_at=time.time() - 200)
        place.run("status", RUN, "--address", address)  # the user names the cluster once
        yield place
