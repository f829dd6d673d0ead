"""Measure the test accuracy of the presets on the full MNIST in RNNJOB_DATA_DIR.

python benchmarks/accuracy.py                       # the default and the seed preset: minutes
python benchmarks/accuracy.py best pixels --seeds 3     # hours
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
JOBS = {
    "default-3": ["--preset", "default", "--epochs", "3"],
    "default-10": ["--preset", "default", "--epochs", "10"],
    "seed": ["--preset", "seed"],
    "best": ["--preset", "best"],
    "pixels": ["--preset", "pixels"],
}
USUAL = ("default-3", "default-10", "seed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(JOBS))
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, from 0")
    given = parser.parse_args()
    if unknown := [name for name in given.names if name not in JOBS]:
        parser.error(f"no job '{unknown[0]}': take one of {', '.join(JOBS)}")
    for name in given.names or USUAL:
        results = [result_of(name, seed) for seed in range(given.seeds)]
        if given.seeds > 1:
            mean = statistics.mean(result["test_accuracy"] for result in results)
            print(f"{name}: test accuracy {mean:.2%}, the mean of {given.seeds} seeds")


def result_of(name: str, seed: int) -> dict[str, Any]:
    """Train a job with a seed, print a line about it, and return its result."""
    with tempfile.TemporaryDirectory() as storage:
        done = subprocess.run(
            [
                RNNJOB, "submit", "--local", "--json", "--storage", storage, *JOBS[name],
                "--seed", str(seed),
            ],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    result: dict[str, Any] = json.loads(done.stdout)
    head = result.get("test_head_accuracy")
    first = f", first {result['test_head_rows']:,} rows {head:.2%}" if head else ""
    print(
        f"{name}, seed {seed}: test accuracy {result['test_accuracy']:.2%}{first}; "
        f"{result['epochs']} epochs, {result['steps']:,} steps, {result['precision']}, "
        f"{result['wall_s']:.0f} s",
        flush=True,
    )
    return result


if __name__ == "__main__":
    main()
