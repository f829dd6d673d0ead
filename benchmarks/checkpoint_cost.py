"""Compare a job that saves a checkpoint every 50 steps with one that saves only after epochs.

    python benchmarks/checkpoint_cost.py           # full MNIST of RNNJOB_DATA_DIR, some minutes
    python benchmarks/checkpoint_cost.py --smoke   # shipped digits, seconds; only shows it works

Each run is one `rnnjob submit --local` of the default model in fp32. The two jobs take turns. The
claim is about the median ratio of two runs in the same round, because a machine that becomes slower
affects both. The time of the steps and of everything between them counts; startup and evaluation do
not.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.data import dataset_name  # noqa: E402
from orchestrator.runs.hardware import num_usable_cpus  # noqa: E402

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
EVERY_STEPS = 50
CLAIM = 0.03


def training_seconds(every_steps: int, num_steps: int) -> float:
    """Run a job, and return the seconds from its first to its last step without validation."""
    with tempfile.TemporaryDirectory() as storage:
        command = [
            RNNJOB, "submit", "--local", "--json", "-q", "--dataset", dataset_name(),
            "--storage", storage, "--run-id", "run", "--precision", "fp32",
            "--set", f"training.steps={num_steps}",
            "--set", f"checkpoint.every_steps={every_steps}", "--set", "checkpoint.every_s=0",
        ]  # fmt: skip
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        lines = (Path(storage) / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    times = [record["time"] for record in records if record["kind"] == "step"]
    validation_s = sum(record.get("validation_s", 0.0) for record in records[:-2])
    return float(times[-1] - times[0] - validation_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="only show that the benchmark works")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    smoke = arguments.smoke
    rounds, num_steps, every = (1, 24, 10) if smoke else (arguments.rounds, 300, EVERY_STEPS)
    if smoke:
        os.environ.pop("RNNJOB_DATA_DIR", None)

    print(f"{dataset_name()}, {num_usable_cpus()} CPUs, {num_steps} steps, {rounds} round(s)")
    print(f"round   at epochs   every {every} steps   ratio")
    ratios = []
    for number in range(1, rounds + 1):
        # The order changes each round, so that neither job always runs on the warmer machine.
        order = (0, every) if number % 2 else (every, 0)
        took = {every_steps: training_seconds(every_steps, num_steps) for every_steps in order}
        ratios.append(took[every] / took[0])
        print(f"{number:5}   {took[0]:7.2f} s   {took[every]:12.2f} s   {ratios[-1]:5.3f}")
    cost = statistics.median(ratios) - 1
    print(f"median cost {cost:+.1%}; the claim is at most {CLAIM:.0%}")


if __name__ == "__main__":
    main()
