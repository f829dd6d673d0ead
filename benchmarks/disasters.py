"""Do to a run what can happen to it, ask every verb about it, and write the answers as a table.

    python benchmarks/disasters.py                           # all of them
    python benchmarks/disasters.py --only killed --only full # these

Each disaster says what must be told of it. Where a run can be resumed, its weights must be those
of an undisturbed run. The rows of the table in docs/reliability.md are replaced. The exit code is
1 if an answer is wrong. It mounts small disks, and so needs root.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
DOCS = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- matrix: written by make matrix -->\n", "<!-- end of the matrix -->\n"
JOB = ("submit", "--dataset", "mnist-sample", "--set", "dataset.num_shards=4")
SHORT = ("--epochs", "8", "--checkpoint-every", "5")
LONG = ("--epochs", "100000", "--checkpoint-every", "20")
TIMEOUT_S = 240.0


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


@dataclass(frozen=True)
class Place:
    """A working folder of its own, in which commands are run."""

    folder: Path

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [RNNJOB, *words],
            cwd=self.folder,
            env={**os.environ, "RNNJOB_STATE_DIR": str(self.folder / "state"), "NO_COLOR": "1"},
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
        return self.folder.joinpath("runs", "r", *names)

    def wait_for_steps(self, number: int) -> None:
        def there() -> bool:
            metrics = self.path("metrics.jsonl")
            return metrics.exists() and metrics.read_text().count('"kind": "step"') >= number

        wait_for(there)


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
    process = place.start(*JOB, *words, "--run-id", "r")
    try:
        place.wait_for_steps(8)
        yield process
    finally:
        below = []
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(process.pid).children(recursive=True)
        for each in [process, *below]:
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                each.kill()
        process.wait()


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait()


# --- the disasters: each is a context in which the verbs are asked ---


@contextmanager
def killed(place: Place) -> Iterator[None]:
    with running(place, "--local", *SHORT) as process:
        kill(process)
        yield


@contextmanager
def suspended(place: Place) -> Iterator[None]:
    with running(place, "--local", *LONG) as process:
        process.send_signal(signal.SIGSTOP)
        time.sleep(20)
        yield


@contextmanager
def deleted(place: Place) -> Iterator[None]:
    with running(place, "--local", *LONG) as process:
        shutil.rmtree(place.path())
        process.wait(TIMEOUT_S)
        yield


@contextmanager
def damaged(place: Place) -> Iterator[None]:
    with running(place, "--local", *SHORT) as process:
        kill(process)
        place.path("status.json").write_text('{"state": 7')
        yield


@contextmanager
def small_disk(place: Place, megabytes: int) -> Iterator[Path]:
    """Mount a file system of its own as the storage of the runs."""
    storage = place.folder / "runs"
    storage.mkdir()
    size = f"size={megabytes}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", storage], check=True)
    try:
        yield storage
    finally:
        subprocess.run(["umount", "-l", storage], check=True)


@contextmanager
def full(place: Place) -> Iterator[None]:
    with small_disk(place, 8) as storage, running(place, "--local", *LONG) as process:
        with contextlib.suppress(OSError), (storage / "filler").open("wb") as file:
            while True:
                file.write(b"0" * 65536)
                file.flush()
        process.wait(TIMEOUT_S)
        yield


@contextmanager
def read_only(place: Place) -> Iterator[None]:
    with small_disk(place, 64) as storage, running(place, "--local", *LONG) as process:
        kill(process)
        subprocess.run(["mount", "-o", "remount,ro", storage], check=True)
        yield


@contextmanager
def unreachable(place: Place) -> Iterator[None]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with running(place, "--local", *SHORT) as process:
            kill(process)
        content = json.loads(place.path("status.json").read_text())
        change = {"mode": "cluster", "address": address, "host": "a-node", "job_id": ""}
        place.path("status.json").write_text(json.dumps({**content, **change}))
        for path in place.path("owners").iterdir():
            path.write_text(json.dumps({**json.loads(path.read_text()), "host": "a-node"}))
        beat = json.loads(place.path("heartbeat.json").read_text())
        place.path("heartbeat.json").write_text(json.dumps({**beat, "beat_at": time.time() - 200}))
        place.run("status", "r", "--address", address)  # the user names the cluster once
        yield


@contextmanager
def worker_suspended(place: Place) -> Iterator[None]:
    with running(place, "--workers", "2", *LONG) as process:
        worker = worker_of(process)
        worker.suspend()
        try:
            time.sleep(25)
            yield
        finally:
            worker.resume()


@contextmanager
def client_killed(place: Place) -> Iterator[None]:
    with running(place, "--workers", "2", *SHORT, "--epochs", "4000") as process:
        kill(process)
        wait_for(lambda: json.loads(state_text(place))["ended_at"])
        yield


def state_text(place: Place) -> str:
    return place.path("status.json").read_text()


def worker_of(process: "subprocess.Popen[str]") -> psutil.Process:
    children = psutil.Process(process.pid).children(recursive=True)
    return next(c for c in children if "RayTrainWorker" in " ".join(c.cmdline()))


@contextmanager
def worker_killed(place: Place) -> Iterator[None]:
    with running(place, "--workers", "2", *LONG) as process:
        worker_of(process).kill()
        wait_for(lambda: '"attempt": 2' in state_text(place))
        yield


@contextmanager
def driver_killed(place: Place) -> Iterator[None]:
    with running(place, "--workers", "2", *LONG):
        os.kill(json.loads(state_text(place))["pid"], signal.SIGKILL)
        wait_for(lambda: '"attempt": 2' in state_text(place))
        yield


@dataclass(frozen=True)
class Disaster:
    """What is done to a run, and what must then be told of it."""

    text: str
    do: Callable[[Place], Any]
    state: str
    """The state that each verb must tell; empty if no verb finds the run."""
    why: str = ""
    """The category that `why` must tell."""
    wait: int = 124
    """The exit code of `wait`: 124 if it goes on waiting."""
    stop: int = 0
    resume: int | None = None
    """The exit code of `resume --local`; None if it is not tried. With 0, its weights are equal."""


DISASTERS = {
    "killed": Disaster("`--local`: the process killed", killed, "LOST", "driver-died", 1, 2, 0),
    "suspended": Disaster(
        "`--local`: the process suspended for 20 s", suspended, "RUNNING", "standstill", 124, 0, 2
    ),
    "deleted": Disaster("the run folder deleted while it runs", deleted, "", "", 4, 4, 4),
    "damaged": Disaster("`status.json` damaged", damaged, "", "", 4, 4, 4),
    "full": Disaster("the disk full while it runs", full, "LOST", "driver-died", 1, 2, None),
    "read-only": Disaster(
        "the storage read-only, its process killed", read_only, "LOST", "driver-died", 1, 2, 1
    ),
    "unreachable": Disaster(
        "the cluster does not answer", unreachable, "UNREACHABLE", "unreachable", 124, 0, 2
    ),
    "worker-suspended": Disaster(
        "Ray: a worker suspended for 25 s", worker_suspended, "RUNNING", "standstill", 124, 0, 2
    ),
    "worker-killed": Disaster(
        "Ray: a worker killed", worker_killed, "RUNNING", "running", 124, 0, 2
    ),
    "driver-killed": Disaster(
        "Ray: the driver killed", driver_killed, "RUNNING", "running", 124, 0, 2
    ),
    "client-killed": Disaster(
        "Ray: the client killed", client_killed, "STOPPED", "stopped", 5, 2, None
    ),
}
COLUMNS = ("list", "show", "status", "describe", "Python", "why", "wait", "stop", "resume")


def ask(place: Place, disaster: Disaster, expected: str) -> dict[str, tuple[str, bool]]:
    """Ask every verb. Return what each said, and whether it was right."""
    cells = {verb: told_state(place, disaster, verb) for verb in COLUMNS[:5]}
    why = place.run("why", "r", "--json")
    category = str(why.json.get("category", f"exit {why.code}"))
    cells["why"] = category, category == (disaster.why or "exit 4")
    # A run that goes on is to refuse the resume, before it is asked to stop.
    order = ("wait", "stop", "resume") if disaster.resume == 0 else ("wait", "resume", "stop")
    codes = {"wait": disaster.wait, "stop": disaster.stop, "resume": disaster.resume}
    for verb in order:
        code = codes[verb]
        if code is None:
            continue
        words = {"wait": ("--timeout", "2s"), "resume": ("--local", "--json")}.get(verb, ())
        said = place.run(verb, "r", *words)
        told = f"exit {said.code}"
        right = said.code == code
        if verb == "resume" and code == 0:
            right &= said.json.get("weights_sha256") == expected
            told = "equal weights" if right else told
        cells[verb] = told, right and is_clean(said)
    return cells


def told_state(place: Place, disaster: Disaster, verb: str) -> tuple[str, bool]:
    if verb == "Python":
        code = "from orchestrator import open_run; print(open_run('r').state)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=place.folder, capture_output=True, text=True,
            env={**os.environ, "RNNJOB_STATE_DIR": str(place.folder / "state")}, check=False,
        )  # fmt: skip
        told = done.stdout.strip() or "an error"
        return told, told == (disaster.state or "an error")
    said = place.run(verb, *(() if verb == "list" else ("r",)), "--json")
    content = said.json
    if verb == "list":
        rows = content.get("runs", [])
        told = rows[0]["state"] if rows else "not listed"
        return told, is_clean(said) and told == (disaster.state or "not listed")
    status = content.get("status", content)
    told = status.get("state", f"exit {said.code}")
    return told, is_clean(said) and told == (disaster.state or "exit 4")


def is_clean(said: Said) -> bool:
    """Whether an answer is one line of cause and one of cure, and no traceback."""
    return "Traceback" not in said.stdout + said.stderr and len(said.stderr) < 4000


def row(disaster: Disaster, cells: dict[str, tuple[str, bool]]) -> str:
    told = [cells.get(column, ("", True)) for column in COLUMNS]
    words = [text if right else f"**{text}: wrong**" for text, right in told]
    return f"| {' | '.join([disaster.text, *words])} |"


def write_rows(rows: dict[str, str]) -> None:
    """Replace these rows of the table in the docs. The others stay. `rows`: by disaster."""
    before, _, rest = DOCS.read_text().partition(BEGIN)
    old, _, after = rest.partition(END)
    known = {name: line for name in DISASTERS for line in old.splitlines()
             if line.startswith(f"| {DISASTERS[name].text} |")}  # fmt: skip
    known.update(rows)
    head = [f"| what was done | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines = [*head, *(known[name] for name in DISASTERS if name in known)]
    DOCS.write_text(before + BEGIN + "\n".join(lines) + "\n" + END + after)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=DISASTERS, help="only this disaster")
    given = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory(prefix="rd") as scratch:
        undisturbed = Place(Path(scratch) / "undisturbed")
        undisturbed.folder.mkdir()
        expected = undisturbed.run(*JOB, "--local", *SHORT, "--json").json["weights_sha256"]
        for name in given.only or DISASTERS:
            place = Place(Path(scratch) / name)
            place.folder.mkdir()
            with DISASTERS[name].do(place):
                results[name] = ask(place, DISASTERS[name], expected)
            print(row(DISASTERS[name], results[name]), flush=True)
            write_rows({name: row(DISASTERS[name], results[name])})
    return 0 if all(right for cells in results.values() for _, right in cells.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
