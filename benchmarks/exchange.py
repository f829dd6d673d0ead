"""Measure what the exchange and the control of a step cost on 2, 4, 8 and 16 processes.

    python -m benchmarks.exchange           # about three minutes
    python -m benchmarks.exchange --smoke   # seconds; only shows that it works

The processes run `workers.on_ray.collectives` over gloo on the loopback interface, without Ray.
First they exchange rows of N numbers and do nothing else. Then they run the training loop, with its
records, stop requests and checkpoints, on a model so small that it costs next to nothing. All
processes share the CPUs of this machine, so the wall time is that of W workers on few cores; the
CPU time of one worker is what it would need on a core of its own. At last, one process adds up the
rows that each of many workers would receive.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.gloo_group import GlooWorker, in_group
from orchestrator import runs
from orchestrator.datasets.sources import SAMPLE
from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.runs.scaling import PARTS, Point, read_point
from orchestrator.spec.build import build_spec
from orchestrator.spec.plan import make_plan, read_spec
from workers.on_ray.collectives import Collectives
from workers.records.owners import Fence
from workers.records.run_folder import RunFolder, StopPoller
from workers.shards.order import hosted_shards
from workers.shards.tree import nodes_within, tree_sum
from workers.storage.storage import Storage
from workers.train import train

_WARM_UP = 10


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    groups: Sequence[int] = (2, 4, 8, 16)
    numbers: Sequence[int] = (1_000, 100_000, 1_000_000)
    repeats: int = 50
    steps: int = 60
    sums: Sequence[int] = (64, 512, 4096)

    @property
    def num_shards(self) -> int:
        return max(self.groups)


SMOKE = Size(groups=(2,), numbers=(1_000,), repeats=3, steps=4, sums=(64,))


@dataclass(frozen=True)
class Exchange:
    """Exchange rows of so many numbers, and return seconds per exchange: wall, and own CPU."""

    num_numbers: int
    size: Size

    def __call__(self, rank: int, world_size: int, folder: Path) -> tuple[float, float]:
        shards = self.size.num_shards
        collectives = Collectives(shards, world_size)
        nodes = nodes_within(shards, hosted_shards(shards, world_size, rank))
        rows = torch.ones(len(nodes), self.num_numbers)
        for _ in range(3):
            collectives.tree_sum(rows)
        wall, cpu = [], time.process_time()
        for _ in range(self.size.repeats):
            started = time.perf_counter()
            collectives.tree_sum(rows)
            wall.append(time.perf_counter() - started)
        return statistics.median(wall), (time.process_time() - cpu) / self.size.repeats


def training_loop(rank: int, world_size: int, folder: Path) -> None:
    """Train the job of the run folder on this group of processes."""
    run = RunFolder.at(str(folder / "run"))
    plan = make_plan(run, read_spec(run), world_size, lambda _: "fp32")
    stop = StopPoller(run, Fence.of(plan.job).check)
    shards = plan.job.data.num_shards
    load = lambda shard: plan.data.shard(shard).load()  # noqa: E731
    train(plan.job, GlooWorker(rank, world_size, shards, load_shard=load, stop_requested=stop))


def exchange_s(world_size: int, num_numbers: int, size: Size) -> tuple[float, float]:
    """Return the seconds of an exchange: of all together, and of the CPU of a worker."""
    with tempfile.TemporaryDirectory() as folder:
        found = in_group(Exchange(num_numbers, size), world_size, Path(folder))
    return max(wall for wall, _ in found), statistics.fmean(cpu for _, cpu in found)


def step_of_tiny_model(world_size: int, size: Size) -> Point:
    """Return the steps of a training loop on a tiny model."""
    with tempfile.TemporaryDirectory() as folder:
        spec = build_spec(
            flags={
                "dataset.name": SAMPLE,
                "dataset.num_shards": size.num_shards,
                "model.hidden_size": 8,
                "training.global_batch_size": size.num_shards,
                "training.steps": _WARM_UP + size.steps,
                "training.precision": "fp32",
                "storage": folder,
            }
        )
        run = runs.create_run(Storage(folder), "run", spec.to_yaml(), runs.LOCAL)
        make_plan(run, spec, world_size, lambda _: "fp32")  # resolves the spec for all
        in_group(training_loop, world_size, Path(folder))
        return read_point(run, world_size, None, _WARM_UP)


def sum_of_rows_s(world_size: int, num_numbers: int, repeats: int) -> float:
    """Return the seconds in which a worker adds up its slice of the rows of all workers."""
    width = -(-num_numbers // world_size)
    nodes = [range(rank, rank + 1) for rank in range(world_size)]
    took = []
    for _ in range(repeats):
        slices = torch.ones(world_size, width)
        started = time.perf_counter()
        tree_sum(range(world_size), dict(zip(nodes, slices, strict=True)))
        took.append(time.perf_counter() - started)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="only show that the benchmark works")
    size = SMOKE if parser.parse_args().smoke else Size()

    print(f"{num_usable_cpus()} CPUs, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}")
    print(f"\nexchange of {size.num_shards} shards, {size.repeats} times: median wall, mean CPU\n")
    print("| numbers | workers | wall ms | CPU ms of a worker |\n|---|---|---|---|")
    for number, workers in itertools.product(size.numbers, size.groups):
        wall, cpu = exchange_s(workers, number, size)
        print(f"| {number:,} | {workers} | {1e3 * wall:.2f} | {1e3 * cpu:.2f} |", flush=True)

    print(f"\nstep of a tiny model, worker 0, mean of {size.steps}\n")
    print(f"| workers | step ms | {' | '.join(PARTS)} |\n|---|---|{'---|' * len(PARTS)}")
    for workers in size.groups:
        point = step_of_tiny_model(workers, size)
        parts = [1e3 * point.step_s(part) for part in PARTS]
        cells = " | ".join(f"{part:.2f}" for part in parts)
        print(f"| {workers} | {sum(parts):.2f} | {cells} |", flush=True)

    print("\nsum of the rows that a worker receives, of 1,000,000 numbers\n")
    print("| workers | ms |\n|---|---|")
    for workers in size.sums:
        print(f"| {workers} | {1e3 * sum_of_rows_s(workers, 1_000_000, size.repeats):.2f} |")


if __name__ == "__main__":
    main()
