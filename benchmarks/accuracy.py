"""Measure the test accuracy of the presets on the full MNIST in RNNJOB_DATA_DIR.

python benchmarks/accuracy.py [NAME ...]      # NAME: default-3, default-10 or seed; all by default
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
JOBS = {
    "default-3": ["--preset", "default", "--epochs", "3"],
    "default-10": ["--preset", "default", "--epochs", "10"],
    "seed": ["--preset", "seed"],
}


def main(names: list[str]) -> None:
    for name in names or JOBS:
        with tempfile.TemporaryDirectory() as storage:
            done = subprocess.run(
                [RNNJOB, "submit", "--local", "--json", "--storage", storage, *JOBS[name]],
                stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        result = json.loads(done.stdout)
        head = result.get("test_head_accuracy")
        first = f", first {result['test_head_rows']:,} rows {head:.2%}" if head else ""
        print(
            f"{name}: test accuracy {result['test_accuracy']:.2%}{first}; "
            f"{result['epochs']} epochs, "
            f"{result['steps']:,} steps, {result['precision']}, {result['wall_s']:.0f} s"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
