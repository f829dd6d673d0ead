"""Measure the time from the submit command to the first training step on a cluster.

    python benchmarks/startup.py            # 5 rounds on a cluster of this machine, minutes
    python benchmarks/startup.py --smoke    # one round; only shows that the benchmark works

rnnjob is compared with plain_ray_job/train.py: the same model in Ray Train, written by hand and
submitted by `ray job submit` with a working directory. Both train on the shipped digits with one
worker, on the same local cluster, in turns. The first round does not count, because Ray unpacks the
working directories of the jobs in it.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
SAMPLE = ROOT / "orchestrator" / "datasets" / "mnist_sample.parquet"
CLAIM = 1.0
# The event that ends each part: a line of a log, or the kind of a record of the metrics.
PARTS = {
    "submission": "status",
    "driver start": "connected to Ray",
    "data into Ray": "the shards are in Ray",
    "worker start": "worker 0 has started",
    "data to the worker": "start",
    "first step": "step",
}


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start a local cluster of two nodes. Yield the environment that selects it; stop it later."""
    environment = {**os.environ, "RNNJOB_STATE_DIR": str(folder / "state")}
    size = ("--nodes", "2", "--cpus-per-node", "1", "--name", "startup")
    up = rnnjob(environment, "cluster", "up", "--local", *size, "--json")
    try:
        yield {**environment, **json.loads(up)["environment"]}
    finally:
        rnnjob(environment, "cluster", "down", "startup")


def rnnjob(environment: dict[str, str], *arguments: str) -> str:
    """Run an rnnjob command and return its stdout."""
    done = subprocess.run(
        [BIN / "rnnjob", *arguments],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return done.stdout


def measure_plain_job(environment: dict[str, str], folder: Path) -> float:
    """Return the seconds until the first step of the job that is written by hand."""
    begun = time.time()
    done = subprocess.run(
        [
            BIN / "ray", "job", "submit", "--working-dir", ROOT / "benchmarks" / "plain_ray_job",
            "--", sys.executable, "train.py", SAMPLE, folder / "ray",
        ],
        env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    match = re.search(r"first step ([\d.]+)", done.stdout)
    assert match, done.stdout
    return float(match.group(1)) - begun


def measure_rnnjob(environment: dict[str, str], folder: Path) -> dict[str, float]:
    """Return the seconds of each part until the first step of rnnjob, and their sum."""
    begun = time.time()
    job = ("--dataset", "mnist-sample", "--epochs", "1", "--storage", str(folder / "runs"), "-q")
    run = folder / "runs" / rnnjob(environment, "submit", *job).strip()
    ends = read_end_times(run)
    parts, last = {}, begun
    for name, end in PARTS.items():
        parts[name], last = ends[end] - last, ends[end]
    return {**parts, "in all": last - begun}


def read_end_times(run: Path) -> dict[str, float]:
    """Return when each event of a run happened, in Unix seconds."""
    ends: dict[str, float] = {
        "status": json.loads((run / "status.json").read_text())["submitted_at"]
    }
    for log in ("driver.log", "worker-0.log"):
        for line in (run / "logs" / log).read_text().splitlines():
            ends[line[29:]] = datetime.fromisoformat(line[:23]).timestamp()
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record: dict[str, Any] = json.loads(line)
        ends.setdefault(record["kind"], record["time"])
    return ends


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="only show that the benchmark works")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds = 1 if arguments.smoke else arguments.rounds
    with tempfile.TemporaryDirectory(prefix="rnnjob-") as scratch:
        folder = Path(scratch)
        with cluster(folder) as environment:
            warm_up = 0 if arguments.smoke else 1
            pairs = [
                (measure_plain_job(environment, folder), measure_rnnjob(environment, folder))
                for _ in range(warm_up + rounds)
            ][warm_up:]
    plain_s = statistics.median(pair[0] for pair in pairs)
    ratio = statistics.median(pair[1]["in all"] / pair[0] for pair in pairs)
    print(f"by hand, with ray job submit: {plain_s:.1f} s to the first step, median of {rounds}")
    for name in (*PARTS, "in all"):
        print(f"rnnjob, {name:<19} {statistics.median(pair[1][name] for pair in pairs):6.1f} s")
    print(f"ratio, paired: {ratio:.2f} (claimed: at most {CLAIM})")


if __name__ == "__main__":
    main()
