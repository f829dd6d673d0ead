"""A group of processes on this machine, connected through gloo on the loopback interface."""

import json
import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from orchestrator.driver.ray_train.loopback_group import interface
from workers.on_ray.collectives import Collectives
from workers.shards.order import hosted_shards
from workers.worker import SingleProcessWorker

Act = Callable[[int, int, Path], Any]
"""What a process does, given its rank, the number of processes and a folder."""
_LIMIT_S = 300.0


class GlooWorker(SingleProcessWorker):
    """A worker like that on Ray, in a process of this benchmark."""

    def __init__(self, rank: int, world_size: int, num_shards: int, **shards: Any) -> None:
        super().__init__(num_shards, **shards)
        self.rank, self.world_size = rank, world_size
        self.shards = hosted_shards(num_shards, world_size, rank)
        self._collectives = Collectives(num_shards, world_size)

    def tree_sum(self, rows_KN: Tensor) -> Tensor:
        return self._collectives.tree_sum(rows_KN)

    def all_reduce(self, row_N: Tensor) -> Tensor:
        return self._collectives.all_reduce(row_N)

    def gather(self, rows_LN: Tensor) -> Tensor:
        return self._collectives.gather(rows_LN)


def in_group(act: Act, world_size: int, folder: Path) -> list[Any]:
    """Return what `act` returns on each rank of a group of new processes."""
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])
    started = [
        processes.Process(target=_member, args=(act, rank, world_size, folder))
        for rank in range(world_size)
    ]
    try:
        for process in started:
            process.start()
        until = time.monotonic() + _LIMIT_S
        while waiting := [process for process in started if process.exitcode is None]:
            multiprocessing.connection.wait([each.sentinel for each in waiting], timeout=1.0)
            codes = [process.exitcode for process in started]
            if any(codes) or time.monotonic() > until:  # the others wait for one that failed
                raise SystemExit(f"the exit codes of {act.__name__}: {codes}")
    finally:
        for process in started:
            if process.is_alive():
                process.kill()
                process.join()
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world_size)]


def _member(act: Act, rank: int, world_size: int, folder: Path) -> None:
    os.environ.update(interface())
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=world_size
    )
    (folder / f"{rank}.json").write_text(json.dumps(act(rank, world_size, folder)))
    dist.barrier()
    dist.destroy_process_group()
