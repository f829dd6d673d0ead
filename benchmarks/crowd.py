"""Many clients at once, and many runs of which half were killed: is what is said of them true?

    python benchmarks/crowd.py                               # ten clients for two minutes, 200 runs
    python benchmarks/crowd.py --clients 3 --seconds 40 --runs 6

First, clients submit, stop, resume and delete runs of the same few names at the same time. Then no
command may have printed a traceback, every run must be there unless it was deleted, and every run
that succeeded must have the weights of a run that nobody disturbed.

Second, runs are started, a few at a time, and half of them are killed at random moments. If there
are fewer than 200, their folders are copied until there are as many. Then `list`, `doctor` and
`prune` must agree with what was done, and take less than three seconds of CPU time each. (`doctor`
may take longer: it imports torch and Ray, to see whether that works.)

The exit code is 1 if anything of this does not hold.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
JOB = (
    "--local", "--dataset", "mnist-sample", "--epochs", "2", "--set", "model.hidden_size=8",
    "--checkpoint-every", "2", "--cpus-per-worker", "1", "-q",
)  # fmt: skip
ACTIONS = ("submit", "submit", "submit", "resume", "stop", "delete", "list", "status")
EXPECTED = {
    0: "done",
    2: "refused: the id is taken, it runs, it has ended, somebody else holds it",
    4: "no such run",
    5: "stopped",
}
NUM_FOLDERS, LIMIT_S = 200, 3.0


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    words: tuple[str, ...]
    code: int
    begun: float
    ended: float
    stdout: str
    stderr: str


class Place:
    """A storage, cache and state folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.runs = folder / "runs"
        self.environment = {
            **os.environ,
            "RNNJOB_CACHE_DIR": str(folder / "cache"),
            "RNNJOB_STATE_DIR": str(folder / "state"),
            "RNNJOB_STORAGE": str(self.runs),
            "OMP_NUM_THREADS": "1",
        }

    def start(self, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [RNNJOB, *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str) -> Done:
        begun = time.monotonic()
        process = self.start(*words)
        stdout, stderr = process.communicate()
        return Done(words, process.returncode, begun, time.monotonic(), stdout, stderr)

    def listed(self) -> dict[str, dict[str, Any]]:
        rows = json.loads(self.run("list", "--all", "--json").stdout)["runs"]
        return {row["run_id"]: row for row in rows}


def command(action: str, name: str) -> tuple[str, ...]:
    return {
        "submit": ("submit", *JOB, "--run-id", name),
        "resume": ("resume", name, "--local", "-q"),
        "stop": ("stop", name),
        "delete": ("delete", name, "-y"),
        "list": ("list", "--all", "--json"),
        "status": ("status", name),
    }[action]


def crowd(place: Place, num_clients: int, seconds: float, seed: int) -> list[str]:
    """Let clients do as they like for some time. Return what is wrong."""
    reference = place.run("submit", *JOB, "--run-id", "reference")
    assert reference.code == 0, reference.stderr
    names = [f"shared-{number}" for number in range(max(2, num_clients // 2))]
    done: list[Done] = []
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        draw = random.Random(seed + number)
        while time.monotonic() < until:
            done.append(place.run(*command(draw.choice(ACTIONS), draw.choice(names))))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(num_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    codes = Counter((each.words[0], each.code) for each in done)
    for (verb, code), number in sorted(codes.items()):
        print(f"{verb:<7} exit {code:<3} {number:>4}  {EXPECTED.get(code, 'NOT EXPECTED')}")
    problems = [
        f"{' '.join(each.words)}: exit {each.code}: {each.stderr[-400:]}"
        for each in done
        if each.code not in EXPECTED or "Traceback" in each.stderr
    ]
    return problems + [problem for name in names for problem in _check_run(place, name, done)]


def _check_run(place: Place, name: str, done: list[Done]) -> list[str]:
    """Return what is wrong with one of the runs at the end."""
    mine = [each for each in done if name in each.words]
    made = [each.ended for each in mine if each.words[0] == "submit" and each.code in (0, 5)]
    deleted = [each for each in mine if each.words[0] == "delete" and each.code == 0]
    listed = place.listed()
    there, reference = listed.get(name), listed["reference"]
    # A run was there before its submission ended, so it may have been deleted just after that.
    must_be_there = bool(made) and max(made) > max((each.ended for each in deleted), default=0.0)
    must_be_gone = bool(deleted) and max(each.begun for each in deleted) > max(made, default=0.0)
    if must_be_there and there is None:
        return [f"{name} is lost"]
    if must_be_gone and there is not None and max(made, default=0.0):
        return [f"{name} was deleted, and is there"]
    if there is None:
        return []
    if there["state"] not in ("SUCCEEDED", "STOPPED"):
        return [f"{name} is {there['state']}: {there['reason']}"]
    if there["state"] == "SUCCEEDED" and there["weights_sha256"] != reference["weights_sha256"]:
        return [f"{name} has other weights"]
    lines = (place.runs / name / "metrics.jsonl").read_text().splitlines()
    steps = [r["step"] for r in map(json.loads, lines) if r["kind"] == "step"]
    return [] if steps == list(range(1, len(steps) + 1)) else [f"{name} has not each step once"]


def killed(place: Place, num_runs: int, seed: int) -> list[str]:
    """Start runs, kill half of them, and ask for all. Return what is wrong."""
    draw = random.Random(seed)
    victims = set(draw.sample(range(num_runs), num_runs // 2))
    waiting = list(range(num_runs))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                number, delay_s = waiting.pop(), draw.uniform(1.0, 12.0)
            process = place.start("submit", *JOB, "--run-id", f"run-{number}")
            if number in victims:
                try:
                    process.wait(delay_s)
                except subprocess.TimeoutExpired:
                    process.kill()
            process.communicate()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    states = {run_id: row["state"] for run_id, row in place.listed().items()}
    problems = []
    for number in range(num_runs):
        state = states.get(f"run-{number}", "not there")
        wanted = ("LOST", "SUCCEEDED", "not there") if number in victims else ("SUCCEEDED",)
        if state not in wanted:
            problems.append(f"run-{number} is {state}, not {' or '.join(wanted)}")
    _fill_up(place.runs)
    for words, check in (
        (("list", "--all", "--json"), lambda out: len(json.loads(out)["runs"])),
        (("list", "--disk", "--all", "--json"), lambda out: len(json.loads(out)["runs"])),
        (("prune", "--older-than", "1s", "--dry-run", "--json"), _count_removed),
        (("prune", "--older-than", "1s", "-y", "--json"), _count_removed),
        (("prune", "--older-than", "1s", "--dry-run", "--json"), _count_removed),
        (("doctor",), len),
    ):
        problems += _timed(place, words, check)
    after = place.listed()
    problems += [
        f"{run_id} is {after[run_id]['state']} after prune, and was {state}"
        for run_id, state in states.items()
        if after[run_id]["state"] != state
    ]
    lost = next((run_id for run_id, state in states.items() if state == "LOST"), None)
    if lost and (done := place.run("resume", lost, "--local", "-q")).code:
        problems.append(f"{lost} does not go on after prune: {done.stderr[-400:]}")
    return problems


def _count_removed(output: str) -> int:
    return len(json.loads(output)["removed"])


def _fill_up(runs: Path) -> None:
    """Copy run folders until there are NUM_FOLDERS."""
    folders = [path for path in runs.iterdir() if (path / "status.json").exists()]
    for number in range(NUM_FOLDERS - len(folders)):
        shutil.copytree(folders[number % len(folders)], runs / f"copy-{number}")


def _timed(place: Place, words: tuple[str, ...], count: Callable[[str], int]) -> list[str]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = place.run(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    if done.code or "Traceback" in done.stderr:
        return [f"{' '.join(words)}: exit {done.code}: {done.stderr[-400:]}"]
    wall_s = done.ended - done.begun
    print(f"{' '.join(words)}: {count(done.stdout)}, {wall_s:.1f} s, {cpu_s:.1f} s of CPU time")
    is_late = cpu_s > LIMIT_S and words[0] != "doctor"
    return [f"{' '.join(words)} took {cpu_s:.1f} s of CPU time"] if is_late else []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument(
        "--runs", type=int, default=200, help="how many are started; half are killed"
    )
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    problems = []
    with tempfile.TemporaryDirectory(prefix="crowd-") as folder:
        if given.clients:
            problems += crowd(Place(Path(folder, "1")), given.clients, given.seconds, given.seed)
        if given.runs:
            problems += killed(Place(Path(folder, "2")), given.runs, given.seed)
    print("\n".join(problems) or "nothing is wrong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
