"""Train on rows that do not fit the memory budget: peak memory and throughput, held and streamed.

The rows are those of MNIST, many times over, in idx files. `rnnjob data prepare` cuts them. Jobs
are then trained in turn with all rows in memory and with a window of them, to the same weights.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from orchestrator.datasets.cache import default_cache  # noqa: E402
from orchestrator.datasets.idx import Split  # noqa: E402
from orchestrator.datasets.sources import SAMPLE, find_source  # noqa: E402
from orchestrator.units import parse_bytes, show_bytes  # noqa: E402

BIN = Path(sys.executable).parent
_LOOK_EVERY_S = 0.05
CLAIMED_EXTRA, CLAIMED_RATIO = 700 * 10**6, 0.8
_NAMES = {
    "train-images-idx3-ubyte": ("train", "images"), "train-labels-idx1-ubyte": ("train", "labels"),
    "t10k-images-idx3-ubyte": ("test", "images"), "t10k-labels-idx1-ubyte": ("test", "labels"),
}  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """A command that has ended."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


def run(folder: Path, *arguments: str) -> Measured:
    """Run an rnnjob command. Its prepared data sets are kept in the folder."""
    started = time.perf_counter()
    environment = {**os.environ, "RNNJOB_CACHE_DIR": str(folder / "cache")}
    environment.pop("RNNJOB_DATA_DIR", None)
    process = subprocess.Popen(
        [BIN / "rnnjob", *arguments], env=environment, stdout=subprocess.DEVNULL
    )
    peak = 0
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        peak = max(peak, peak_bytes(process.pid))
        time.sleep(_LOOK_EVERY_S)
    _, status, used = ended
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"rnnjob {' '.join(arguments)} ended with {process.returncode}")
    wall_s = time.perf_counter() - started
    return Measured(wall_s, used.ru_utime + used.ru_stime, peak)


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had so far; 0 once it has none.

    `ru_maxrss` would count the memory of the process that started it, too.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(match.group(1)) * 1024 if match else 0


def write_rows(folder: Path, times: int) -> int:
    """Write idx files whose training rows are those of the data set, many times over."""
    folder.mkdir(parents=True)
    own = os.environ.get("RNNJOB_DATA_DIR")
    name = "mnist" if own else SAMPLE
    train, test = find_source(name, Path(own) if own else None, default_cache()).read()
    splits: dict[str, Split] = {"train": train, "test": test}
    for file_name, (split, part) in _NAMES.items():
        array = getattr(splits[split], part)
        repeats = times if split == "train" else 1
        shape = (len(array) * repeats, *array.shape[1:])
        with open(folder / file_name, "wb") as file:
            file.write(bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes())
            for _ in range(repeats):
                file.write(array.tobytes())
    return len(train.labels) * times


def rows_per_s(run_folder: Path) -> float:
    """Return the throughput from the first step to the last."""
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    steps = [record for line in lines if (record := json.loads(line))["kind"] == "step"]
    rows: int = sum(step["rows"] for step in steps[1:])
    return rows / (steps[-1]["time"] - steps[0]["time"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="only show that the benchmark works")
    parser.add_argument("--times", type=int, default=100, help="how often each row is there")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--window", type=int, default=32768)
    parser.add_argument("--budget", default="1GiB")
    parser.add_argument("--folder", type=Path, help="where there is room for 6 GB")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.times, arguments.steps, arguments.window = 1, 20, 64
        arguments.budget, arguments.rounds = "1MB", 1
    with tempfile.TemporaryDirectory(prefix="rnnjob-", dir=arguments.folder) as scratch:
        measure(Path(scratch), arguments)


def measure(folder: Path, arguments: argparse.Namespace) -> None:
    num_rows = write_rows(folder / "idx", arguments.times)
    data = ("--dataset", "mnist", "--data-dir", str(folder / "idx"))
    prepared = run(folder, "data", "prepare", *data)
    show(f"prepare {num_rows:,} rows", prepared)
    print(f"  {num_rows / prepared.wall_s:,.0f} rows/s", flush=True)
    rates: dict[str, list[float]] = {"held": [], "streamed": []}
    weights = set()
    extra = 0
    budgets = {"held": "64GB", "streamed": arguments.budget}
    for round_number in range(arguments.rounds):
        for how, budget in budgets.items():
            name = f"{how}-{round_number}"
            done = run(
                folder, "submit", "--local", "-q", *data, "--storage", str(folder / "runs"),
                "--run-id", name, "--set", f"dataset.window={arguments.window}",
                "--set", f"dataset.memory_budget={budget}",
                "--set", f"training.steps={arguments.steps}",
                "--set", "checkpoint.every_s=0", "--set", "training.keep=last",
            )  # fmt: skip
            rates[how].append(rows_per_s(folder / "runs" / name))
            result = json.loads((folder / "runs" / name / "result.json").read_text())
            weights.add(result["weights_sha256"])
            show(f"{how}, {arguments.steps} steps", done)
            print(f"  {rates[how][-1]:,.0f} rows/s", flush=True)
            if how == "streamed":
                extra = max(extra, done.peak_bytes - parse_bytes(budget))
    ratio = statistics.median(
        streamed / held for held, streamed in zip(rates["held"], rates["streamed"], strict=True)
    )
    print(f"ratio of rows/s, paired: {ratio:.2f} (claimed: at least {CLAIMED_RATIO})")
    print(
        f"peak memory above the budget of {arguments.budget}: {show_bytes(extra)} "
        f"(claimed: at most {show_bytes(CLAIMED_EXTRA)})"
    )
    print(f"weights: {'the same' if len(weights) == 1 else weights}")


def show(what: str, done: Measured) -> None:
    peak = show_bytes(done.peak_bytes)
    print(f"{what}: {done.wall_s:.0f} s, {done.cpu_s:.0f} CPU-s, peak {peak}", flush=True)


if __name__ == "__main__":
    main()
