"""Measure `rnnjob list` over a storage with many runs.

    python benchmarks/many_runs.py             # 10,000 runs, about two minutes
    python benchmarks/many_runs.py --smoke     # 100 runs; only shows that the benchmark works

One run is trained on the shipped digits, and its folder is copied: links to its files, and a status
with an id and a time of its own. All lie on this machine's file system, and have been read once.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RNNJOB = Path(sys.executable).parent / "rnnjob"
CLAIM_S = 3.0
"""How long `rnnjob list --all` over 10,000 runs may take."""
COMMANDS = (
    ("--help",),
    ("list",),
    ("list", "--all"),
    ("list", "--all", "--json"),
    ("list", "--disk"),
)
_HOUR_S = 3600.0


def train(storage: Path) -> Path:
    job = ("submit", "--local", "--dataset", "mnist-sample", "--epochs", "5", "--run-id", "run-0")
    subprocess.run([RNNJOB, *job, "-q", "--storage", storage], check=True, capture_output=True)
    return storage / "run-0"


def copy(run: Path, num_runs: int) -> None:
    """Copy a run, so that there are `num_runs` with it, each submitted an hour before the last."""
    status = json.loads((run / "status.json").read_text())
    for number in range(1, num_runs):
        folder = run.with_name(f"run-{number}")
        others = shutil.ignore_patterns("status.json")
        shutil.copytree(run, folder, ignore=others, copy_function=os.link)
        own = {**status, "run_id": folder.name}
        own["submitted_at"] = status["submitted_at"] - number * _HOUR_S
        (folder / "status.json").write_text(json.dumps(own, indent=2))


def measure(command: tuple[str, ...], storage: Path, rounds: int) -> tuple[float, float]:
    """Return the median of the seconds that a command takes, and of its CPU time."""
    place = () if command == ("--help",) else ("--storage", str(storage))
    walls, cpus = [], []
    for _ in range(rounds):
        began, before = time.perf_counter(), _cpu_s()
        subprocess.run([RNNJOB, *command, *place], check=True, capture_output=True)
        walls.append(time.perf_counter() - began)
        cpus.append(_cpu_s() - before)
    return statistics.median(walls), statistics.median(cpus)


def _cpu_s() -> float:
    """Return the CPU time of all processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    flags = parser.parse_args()
    num_runs, rounds = (100, 1) if flags.smoke else (flags.runs, flags.rounds)
    with tempfile.TemporaryDirectory(prefix="rnnjob-many-") as folder:
        copy(train(Path(folder)), num_runs)
        measure(("list", "--all"), Path(folder), 1)
        seconds = {}
        for command in COMMANDS:
            seconds[command], cpu_s = measure(command, Path(folder), rounds)
            name = f"rnnjob {' '.join(command)}"
            print(f"{name:<26} {num_runs:>6} runs  {seconds[command]:6.2f} s  CPU {cpu_s:6.2f} s")
    return 0 if flags.smoke or seconds["list", "--all"] <= CLAIM_S else 1


if __name__ == "__main__":
    sys.exit(main())
