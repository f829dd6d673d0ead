"""The collectives of RayWorker in real processes that communicate through gloo, without Ray."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from tests.conftest import ENOUGH_S
from tests.unit.simulated import ShardInMemory, shard_of, single, tiny_job, tiny_loader, tiny_split
from workers.config import TrainJob
from workers.gradients import ControlFlags, Gradients, Step
from workers.models.recurrent import build_model
from workers.on_ray.collectives import Collectives
from workers.records.run_folder import StopRequest
from workers.shard_threads import ShardThreads
from workers.shards.order import hosted_shards
from workers.shards.rows_source import StoredShard
from workers.shards.tree import nodes_within, stacked, tree_sum
from workers.train import train
from workers.worker import Notice, Worker, add_in_order

NUM_SHARDS = 5  # a multiple of neither 2 nor 3 workers, so they host unequal numbers
NO_FLAGS = ControlFlags()
SIZES = (1, 2, 7, 1000)  # some are smaller than the number of workers or no multiple of it
DTYPES = (torch.float32, torch.float64)
CASES = [
    pytest.param(size, dtype, id=f"{size} of {dtype}".replace("torch.", ""))
    for dtype in DTYPES
    for size in SIZES
]
Found = list[dict[str, Any]]
"""The results of each rank, in rank order."""


def all_rows(size: int, dtype: torch.dtype) -> Tensor:
    """Return one row per shard. The order in which such rows are added changes the sum's bits."""
    generator = torch.Generator().manual_seed(size)
    rows = torch.randn(NUM_SHARDS, size, generator=generator, dtype=torch.float64)
    scale = 10.0 ** torch.randint(-6, 7, (NUM_SHARDS, size), generator=generator)
    return (rows * scale).to(dtype)


class GlooWorker:
    """A worker like RayWorker, but without Ray."""

    device = torch.device("cpu")

    def __init__(self, job: TrainJob, rank: int, world_size: int) -> None:
        self.rank, self.world_size = rank, world_size
        self.shards = hosted_shards(job.data.num_shards, world_size, rank)
        self.load_shard = tiny_loader(job.data)
        self.open_shard: Callable[[int], StoredShard] = lambda shard: ShardInMemory(
            self.load_shard(shard)
        )
        collectives = Collectives(job.data.num_shards, world_size)
        self.tree_sum = collectives.tree_sum
        self.all_reduce = collectives.all_reduce
        self.gather = collectives.gather

    def stop_requested(self) -> StopRequest | None:
        return None

    def notice_due(self) -> bool:
        return False

    def notice(self) -> Notice | None:
        return None


@dataclass(frozen=True)
class Group:
    """A group of processes. Each runs `act(rank, world_size, folder)`."""

    world_size: int
    folder: Path

    def run(self, act: Callable[[int, int, Path], dict[str, Any]]) -> Found:
        # Importing torch takes seconds, so the processes are forked from a server that has already
        # imported it. The server ends with this process.
        processes = multiprocessing.get_context("forkserver")
        processes.set_forkserver_preload([__name__])
        self.folder.mkdir(exist_ok=True)
        started = [
            processes.Process(target=_in_process, args=(act, rank, self.world_size, self.folder))
            for rank in range(self.world_size)
        ]
        try:
            for process in started:
                process.start()
            for process in started:
                process.join(ENOUGH_S)
            assert [process.exitcode for process in started] == [0] * self.world_size
        finally:
            for process in started:
                if process.pid and process.is_alive():
                    process.kill()
                    process.join()
        return [torch.load(_result_file(self.folder, rank)) for rank in range(self.world_size)]


def _result_file(folder: Path, rank: int) -> Path:
    return folder / f"result-{rank}.pt"


def _in_process(
    act: Callable[[int, int, Path], dict[str, Any]], rank: int, world_size: int, folder: Path
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'join'}", rank=rank, world_size=world_size
    )
    torch.save(act(rank, world_size, folder), _result_file(folder, rank))
    dist.barrier()
    dist.destroy_process_group()


def exchange_and_train(rank: int, world_size: int, folder: Path) -> dict[str, Any]:
    """Run every collective on every case, then single steps and a whole training.

    One group of processes does all of it, because starting the processes takes longer than that.
    """
    collectives = Collectives(NUM_SHARDS, world_size)
    hosted = hosted_shards(NUM_SHARDS, world_size, rank)
    found: dict[str, Any] = {"shards": list(hosted)}
    for dtype in DTYPES:
        for size in SIZES:
            mine = all_rows(size, dtype)[hosted.start : hosted.stop]
            kept = mine.clone()
            found[f"sum {size} {dtype}"] = collectives.tree_sum(rows_of_nodes(mine, hosted))
            found[f"gather {size} {dtype}"] = collectives.gather(mine)
            found[f"unchanged {size} {dtype}"] = torch.equal(mine, kept)
            found[f"reduce {size} {dtype}"] = collectives.all_reduce(mine.sum(dim=0))
    for gradients in ("exact", "fused"):
        job = tiny_job(folder, training={"gradients": gradients})
        step = step_of(job, GlooWorker(job, rank, world_size), ControlFlags(rank == world_size - 1))
        found[gradients] = step.gradient_N
        found[f"{gradients} sums"] = (
            step.loss_sum,
            step.score_sum,
            step.num_rows,
            step.flags.stop,
        )
    job = tiny_job(folder / "run")
    found["weights"] = train(job, GlooWorker(job, rank, world_size)).weights_sha256
    return found


def rows_of_nodes(rows: Tensor, hosted: range) -> Tensor:
    """Return the rows of the largest nodes within the hosted shards."""
    by_shard = dict(zip((range(shard, shard + 1) for shard in hosted), rows.clone(), strict=True))
    return stacked([tree_sum(node, by_shard) for node in nodes_within(NUM_SHARDS, hosted)])


def step_of(job: TrainJob, worker: Worker, flags: ControlFlags = NO_FLAGS) -> Step:
    rows = tiny_split(job.data, "train")
    model = build_model(job.model, job.data, job.training.seed, job.training.bptt_steps)
    batches = {shard: shard_of(rows, job.data.num_shards, shard) for shard in worker.shards}
    return Gradients(model, job, worker, ShardThreads(1)).step(0, 0, batches, flags)


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return Group(request.param, tmp_path_factory.mktemp("group")).run(exchange_and_train)


def test_the_workers_host_unequal_numbers_of_neighbouring_shards(found: Found) -> None:
    hosted = [rank["shards"] for rank in found]
    assert [shard for shards in hosted for shard in shards] == list(range(NUM_SHARDS))
    assert len({len(shards) for shards in hosted}) == 2


@pytest.mark.parametrize(("size", "dtype"), CASES)
def test_the_sum_over_workers_has_the_bits_of_one_process(
    found: Found, size: int, dtype: torch.dtype
) -> None:
    (wanted,) = rows_of_nodes(all_rows(size, dtype), range(NUM_SHARDS))
    for rank in found:
        assert rank[f"sum {size} {dtype}"].dtype == dtype
        assert torch.equal(rank[f"sum {size} {dtype}"], wanted)
        assert rank[f"unchanged {size} {dtype}"]


def test_the_rows_reveal_another_order_of_adding() -> None:
    for dtype in DTYPES:
        rows = all_rows(1000, dtype)
        (wanted,) = rows_of_nodes(rows, range(NUM_SHARDS))
        assert not torch.equal(wanted, add_in_order(rows))
        by_two_workers = add_in_order(rows[:2]) + add_in_order(rows[2:])
        assert not torch.equal(wanted, by_two_workers)


@pytest.mark.parametrize(("size", "dtype"), CASES)
def test_all_rows_are_gathered_in_shard_order(found: Found, size: int, dtype: torch.dtype) -> None:
    for rank in found:
        assert torch.equal(rank[f"gather {size} {dtype}"], all_rows(size, dtype))


@pytest.mark.parametrize(("size", "dtype"), CASES)
def test_all_reduce_is_the_sum_of_the_workers_rows(
    found: Found, size: int, dtype: torch.dtype
) -> None:
    rows = all_rows(size, dtype)
    sums = [rows[rank["shards"][0] : rank["shards"][-1] + 1].sum(dim=0) for rank in found]
    largest = torch.stack(sums).abs().amax(dim=0)
    for rank in found:
        error = (rank[f"reduce {size} {dtype}"] - torch.stack(sums).sum(dim=0)).abs()
        assert bool((error <= largest * 8 * torch.finfo(dtype).eps).all())
        assert torch.equal(rank[f"reduce {size} {dtype}"], found[0][f"reduce {size} {dtype}"])


def test_the_exact_gradient_has_the_bits_of_one_process(found: Found, tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    alone = step_of(job, single(job))
    for rank in found:
        assert torch.equal(rank["exact"], alone.gradient_N)
        assert rank["exact sums"] == (alone.loss_sum, alone.score_sum, 26, True)


def test_the_fused_gradient_is_the_exact_one_up_to_rounding(found: Found, tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    alone = step_of(job, single(job))
    for rank in found:
        torch.testing.assert_close(rank["fused"], alone.gradient_N, rtol=1e-4, atol=1e-7)
        loss_sum, score_sum, num_rows, stop = rank["fused sums"]
        assert loss_sum == pytest.approx(alone.loss_sum, rel=1e-6)
        assert (score_sum, num_rows, stop) == (alone.score_sum, 26, True)


def test_a_whole_training_ends_with_the_weights_of_one_process(
    found: Found, tmp_path: Path
) -> None:
    job = tiny_job(tmp_path)
    alone = train(job, single(job)).weights_sha256
    assert [rank["weights"] for rank in found] == [alone] * len(found)


def test_one_process_needs_no_process_group() -> None:
    rows = all_rows(7, torch.float32)
    alone = Collectives(NUM_SHARDS, 1)
    assert torch.equal(alone.tree_sum(rows[:1]), rows[0])
    assert torch.equal(alone.gather(rows), rows)
    assert torch.equal(alone.all_reduce(rows[0]), rows[0])
