"""Compare rnnjob in one process with a plain PyTorch loop of the same model, on the CPUs here.

    python benchmarks/single_process.py            # full MNIST of RNNJOB_DATA_DIR, a few minutes
    python benchmarks/single_process.py --smoke    # shipped digits, seconds; only shows it works

Each figure is the median over several rounds. In each round the two take turns, and each run has a
process of its own. The plain loop uses all CPUs and the batch size that is best for it. rnnjob uses
all CPUs and 64 rows per shard and step. The benchmark also prints the wall time of `rnnjob --help`
and the peak memory of a local run.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.data import dataset_name  # noqa: E402
from orchestrator.runs.hardware import num_usable_cpus  # noqa: E402
from workers.models.cpu_kernels import onednn_has_bf16_layers  # noqa: E402

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
PRECISIONS = ("fp32", "bf16")


def measure_plain_loop(batch_size: int, precision: str, seconds: float) -> float:
    """Return the samples/s of the plain loop."""
    arguments = [str(batch_size), precision, str(num_usable_cpus()), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.plain_loop", *arguments],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return float(done.stdout)


def measure_rnnjob(precision: str, epochs: int) -> tuple[float, float]:
    """Return the samples/s of the last epoch of a local run, and its peak memory in GB."""
    with tempfile.TemporaryDirectory() as storage:
        command = [
            RNNJOB, "submit", "--local", "--json", "-q", "--dataset", dataset_name(),
            "--storage", storage,
            "--epochs", str(epochs), "--precision", precision, "--batch-size", "512",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        result = json.loads(process.stdout.read())
        _, code, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
        assert process.returncode == 0
    return result["history"][-1]["samples_per_s"], usage.ru_maxrss * 1024 / 1e9


def help_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([RNNJOB, "--help"], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="only show that the benchmark works")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    smoke = arguments.smoke
    rounds, seconds, epochs = (1, 0.5, 1) if smoke else (arguments.rounds, 8.0, 2)
    sizes = (128,) if smoke else (64, 128, 256, 512)
    if smoke:
        os.environ.pop("RNNJOB_DATA_DIR", None)

    print(f"{dataset_name()}, {num_usable_cpus()} CPUs, median of {rounds} round(s)")
    for precision in PRECISIONS:
        if precision == "bf16" and not onednn_has_bf16_layers():
            print("bf16: not measured, plain PyTorch has no recurrent layers in it on this CPU")
            continue
        probes = {size: measure_plain_loop(size, precision, seconds) for size in sizes}
        best = max(probes, key=lambda size: probes[size])
        pairs = [
            (measure_plain_loop(best, precision, seconds), measure_rnnjob(precision, epochs))
            for _ in range(rounds)
        ]
        plain_speed = statistics.median(pair[0] for pair in pairs)
        rnnjob_speed = statistics.median(pair[1][0] for pair in pairs)
        ratio = statistics.median(pair[1][0] / pair[0] for pair in pairs)
        memory = max(pair[1][1] for pair in pairs)
        print(
            f"{precision}: plain loop {plain_speed:,.0f} samples/s (batch {best}), "
            f"rnnjob {rnnjob_speed:,.0f}, ratio {ratio:.2f}; peak memory of rnnjob {memory:.2f} GB"
        )
    print(f"rnnjob --help: {statistics.median(help_seconds() for _ in range(5)):.2f} s")


if __name__ == "__main__":
    main()
