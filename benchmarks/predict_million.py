"""Predict a million rows with a Ray of two workers that is killed again and again, and verify them.

    python benchmarks/predict_million.py           # a million rows, ten minutes
    python benchmarks/predict_million.py --smoke   # 20,000 rows; only shows that it works

The rows are sequences of 5 to 30 time steps of 3 features in several Parquet files, and the model
is an LSTM. First, `rnnjob evaluate` and `rnnjob predict` take turns in one process on some of the
rows. Then all rows are predicted: in one process, on Ray undisturbed, and on Ray with the command
killed (SIGKILL, at random moments) and given again until it ends. The exit code is 1 if a row is
missing, is there twice, or differs in a bit between the three.
"""

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
PREDICT = ("predict", "model", "rows", "-o")
WORKERS = 2
POLL_S = 0.2
DRIVER_ENDS_S = 15.0
MIB = 2**20


@dataclass(frozen=True)
class Size:
    """How much is predicted."""

    num_rows: int
    num_files: int
    few_files: int
    """The files whose rows are evaluated, too: an evaluation holds its rows in memory."""
    hidden: int
    kills: int

    @property
    def num_parts(self) -> int:
        """A part has 64 blocks, and a block up to 1,024 rows of one file."""
        return -(-self.num_files * -(-(self.num_rows // self.num_files) // 1024) // 64)


FULL, SMOKE = Size(1_000_000, 10, 2, 64, 4), Size(20_000, 200, 50, 8, 1)


@dataclass
class Watched:
    """A command that runs, with the memory of the largest process of each name."""

    process: "subprocess.Popen[bytes]"
    begun: float = field(default_factory=time.monotonic)
    most_bytes: dict[str, int] = field(default_factory=dict)

    def look(self) -> bool:
        """Note the memory of the command and all below it. Return whether it goes on."""
        try:
            this = psutil.Process(self.process.pid)
            for one in [this, *this.children(recursive=True)]:
                name = one.name() if one.pid != self.process.pid else "rnnjob"
                size = one.memory_info().rss
                self.most_bytes[name] = max(size, self.most_bytes.get(name, 0))
        except psutil.Error:
            pass
        return self.process.poll() is None

    def seconds(self) -> float:
        return time.monotonic() - self.begun


def rnnjob(*arguments: str) -> Watched:
    """Run a command to its end."""
    with open("stderr", "wb") as stderr:
        process = subprocess.Popen(
            [RNNJOB, *arguments], stdout=subprocess.DEVNULL, stderr=stderr, start_new_session=True
        )
        watched = Watched(process)
        while watched.look():
            time.sleep(POLL_S)
    if process.returncode:
        sys.exit(f"{arguments[0]} failed: {Path('stderr').read_text()}")
    return watched


def make_rows(size: Size) -> None:
    """Write the rows to predict, and a few to train on. The target says which feature is larger."""
    number = np.random.default_rng(0)
    rows_of_file = size.num_rows // size.num_files
    Path("few").mkdir()
    Path("rows").mkdir()
    for file in range(size.num_files):
        lengths = number.integers(5, 31, rows_of_file)
        ends = pa.array(np.concatenate([[0], lengths.cumsum()]), pa.int32())
        numbers = number.normal(size=(int(lengths.sum()), 3)).astype(np.float32)
        means = np.add.reduceat(numbers, ends.to_numpy()[:-1])
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), 3)
        table = pa.table(
            {
                "x": pa.ListArray.from_arrays(ends, vectors),
                "y": pa.array(np.where(means[:, 0] > means[:, 1], "first", "second")),
                "id": range(file * rows_of_file, (file + 1) * rows_of_file),
            }
        )
        pq.write_table(table, f"rows/{file:04}.parquet", row_group_size=20_000)
        if file < size.few_files:
            os.link(f"rows/{file:04}.parquet", f"few/{file:04}.parquet")
        if not file:
            pq.write_table(table.slice(0, min(2000, rows_of_file)), "train.parquet")
            pq.write_table(table.slice(0, 1), "one.parquet")


def train(size: Size) -> None:
    data = ("--dataset", "parquet:train.parquet", "--inputs", "x", "--target", "y")
    net = ("--set", f"model.hidden_size={size.hidden}", "--epochs", "1", "--precision", "fp32")
    rnnjob("submit", "--local", "--run-id", "model", *data, *net, "--batch-size", "32")


def on_a_terminal(*arguments: str) -> tuple[Watched, list[str]]:
    """Run a command whose stderr is a terminal. Return it, and the texts that it showed there."""
    here, there = os.openpty()
    process = subprocess.Popen(
        [RNNJOB, *arguments],
        stdout=subprocess.DEVNULL, stderr=there, start_new_session=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )  # fmt: skip
    os.close(there)
    os.set_blocking(here, False)
    watched, shown = Watched(process), []
    while watched.look():
        shown.append(_read(here))
        time.sleep(POLL_S)
    while text := _read(here):
        shown.append(text)
    os.close(here)
    if process.returncode:
        sys.exit(f"{arguments[0]} failed: {''.join(shown)}")
    return watched, shown


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 2**16).decode(errors="replace")
    except OSError:  # nothing is there, or the other side is closed
        return ""


def kill_once(rng: random.Random, output: str, num_parts: int) -> int | None:
    """Give the command, and kill it when some more parts are done. Return how many parts are, all
    of them if its driver still completed the output; None if the command ended before that."""
    partial = Path(f"{output}.partial")
    before = len(list(partial.glob("part-*")))
    wanted = before + rng.randint(1, max(1, num_parts // 3))
    process = subprocess.Popen(
        [RNNJOB, *PREDICT, output, "--workers", str(WORKERS)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while process.poll() is None and len(list(partial.glob("part-*"))) < wanted:
        time.sleep(POLL_S)
    time.sleep(rng.random() * min(2.0, num_parts / 16))
    others = _children_of(process.pid)
    if process.poll() is not None:
        return None
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # Its driver outlives it for a moment, in which it may complete parts and the output.
    psutil.wait_procs(others, timeout=DRIVER_ENDS_S)
    if not Path(output).exists():
        return len(list(partial.glob("part-*")))
    shutil.rmtree(partial, ignore_errors=True)  # as the command would have done
    return num_parts


def _children_of(command: int) -> list[psutil.Process]:
    """Return the processes that a command, which may have ended, has started itself."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(command).children()
    return []


def differ(first: str, second: str) -> str:
    """Return what is wrong with two files of predictions, whose ids count from 0; empty if nothing
    is."""
    seen = 0
    batches = [pq.ParquetFile(name).iter_batches(2**16) for name in (first, second)]
    for one, other in zip(*batches, strict=False):
        if not one.equals(other):
            return f"the rows from {seen:,} on differ"
        if one["id"].to_pylist() != list(range(seen, seen + one.num_rows)):
            return f"the ids from {seen:,} on are not in order, each once"
        seen += one.num_rows
    counts = [pq.read_metadata(name).num_rows for name in (first, second)]
    return "" if counts == [seen, seen] else f"the files have {counts} rows, {seen:,} were seen"


def tell(what: str, rows: int, watched: Watched, start_s: float) -> None:
    took = watched.seconds()
    largest = {name: size for name, size in watched.most_bytes.items() if size > 200 * MIB}
    memory = ", ".join(f"{name} {size // MIB} MiB" for name, size in sorted(largest.items()))
    print(
        f"{what:<34} {rows:>9,} rows {took:7.1f} s {rows / took:9,.0f} rows/s"
        f" {rows / max(0.1, took - start_s):9,.0f} without the start; {memory}",
        flush=True,
    )


def benchmark(size: Size, seed: int) -> str:
    """Run all of it in the current folder. Return what is wrong; empty if nothing is."""
    make_rows(size)
    train(size)
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"{size.num_rows:,} rows in {size.num_files} files; {os.cpu_count()} CPUs, load {load}")
    start_s = rnnjob("predict", "model", "one.parquet", "-o", "one.jsonl").seconds()
    few = size.num_rows // size.num_files * size.few_files
    for number in range(2):
        evaluated = rnnjob("evaluate", "model", "--dataset", "parquet:few")
        tell("evaluate, one process", few, evaluated, start_s)
        predicted = rnnjob("predict", "model", "few", "-o", f"few{number}.parquet")
        tell("predict, one process", few, predicted, start_s)
    tell("predict, one process", size.num_rows, rnnjob(*PREDICT, "here.parquet"), start_s)
    watched, shown = on_a_terminal(*PREDICT, "ray.parquet", "--workers", str(WORKERS))
    tell(f"predict, Ray of {WORKERS} workers", size.num_rows, watched, start_s)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "".join(shown))
    bars = re.findall(r"predicting[^\r\n]+", plain)
    print(f"progress, in the middle: {bars[len(bars) // 2] if bars else 'none was shown'}")
    rng, kills = random.Random(seed), 0
    while kills < size.kills and not Path("killed.parquet").exists():
        done = kill_once(rng, "killed.parquet", size.num_parts)
        if done is None:
            break
        kills += 1
        print(f"killed after {done} of {size.num_parts} parts", flush=True)
    if not Path("killed.parquet").exists():
        rnnjob(*PREDICT, "killed.parquet", "--workers", str(WORKERS))
    wrong = differ("here.parquet", "ray.parquet") or differ("here.parquet", "killed.parquet")
    left = list(Path().glob("*.partial"))
    print(f"{kills} kill(s); {wrong or 'every row is there once, in order, with equal bits'}")
    return wrong or (f"{left[0]} is left" if left else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="only show that the benchmark works")
    parser.add_argument("--seed", type=int, default=0, help="decides when the command is killed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return bool(benchmark(SMOKE if arguments.smoke else FULL, arguments.seed))
        finally:
            os.chdir("/")


if __name__ == "__main__":
    sys.exit(main())
