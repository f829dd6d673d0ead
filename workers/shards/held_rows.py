"""The rows that a worker holds, and which of them make up each step of an epoch."""

import time
from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from workers.config import SPLITS, TrainJob
from workers.data.rows import Rows, ShardData, collected, padded_to_longest
from workers.errors import DataError
from workers.shards.account import RowAccount
from workers.shards.order import by_length, step_rows
from workers.shards.rows_source import in_parts
from workers.shards.shard_file import num_rows_of
from workers.shards.windows import order_of

_HOST = torch.device("cpu")
_SHARE_OF_GPU = 0.25
"""The share of a GPU's free memory that rows may take. The rest is for the training itself, and for
other workers that share the GPU."""


class HeldRows:
    """All splits of the shards that one worker hosts: on its device, or beside a GPU without room.

    In the latter case, the rows of a step are copied to the GPU before the step.
    """

    def __init__(
        self,
        job: TrainJob,
        shards: range,
        load_shard: Callable[[int], ShardData],
        device: torch.device,
    ) -> None:
        """Load the shards. Raises DataError if a shard does not hold as many rows as it should."""
        self._job = job
        started = time.perf_counter()
        self._sizes = {shard: num_rows_of(job.data, "train", shard) for shard in shards}
        self.shards: dict[int, ShardData] = {}
        # Of the training rows there is one copy, in which each shard finds its place.
        train = collected(
            (self._load(shard, load_shard, device) for shard in shards), sum(self._sizes.values())
        )
        self.load_s = time.perf_counter() - started
        self._place(train, device)

    def _load(
        self, shard: int, load_shard: Callable[[int], ShardData], device: torch.device
    ) -> Rows:
        """Load a shard, keep all rows of it but the training rows, and return those."""
        loaded = load_shard(shard)
        _check_sizes(self._job, shard, loaded)
        if device.type == "cuda":  # it reads rows from places that do not depend on their lengths
            loaded = {s: padded_to_longest(rows, self._job.data) for s, rows in loaded.items()}
        self.shards[shard] = loaded
        return loaded.pop("train")

    def _place(self, train: Rows, device: torch.device) -> None:
        """Move the rows to the device if it has room for them."""
        others = [rows for shard in self.shards.values() for rows in shard.values()]
        num_bytes = sum(rows.num_bytes for rows in (train, *others))
        where = device if device.type != "cuda" or fits_gpu(device, num_bytes) else _HOST
        self._is_streamed = where != device
        self._train = train.to(where)
        parts = self._train.split(list(self._sizes.values()))
        self._lengths = {
            shard: None if part.lengths_N is None else part.lengths_N.cpu().numpy()
            for shard, part in zip(self.shards, parts, strict=True)
        }
        for (shard, loaded), part in zip(self.shards.items(), parts, strict=True):
            self.shards[shard] = {"train": part, **{s: r.to(where) for s, r in loaded.items()}}

    def epoch(self, epoch: int, steps_done: int) -> "HeldEpoch":
        """Return the rows of epoch `epoch` (from 0). `steps_done`: its steps before a restart."""
        job = self._job
        orders = {
            shard: order_of(job.training.seed, epoch, shard, size, job.window)
            for shard, size in self._sizes.items()
        }
        for shard, lengths in self._lengths.items():
            if lengths is not None:
                orders[shard] = by_length(orders[shard], lengths, job.rows_per_shard_step)
        return HeldEpoch(job, self._train, orders, epoch, steps_done, self._is_streamed)

    def parts(self, split: str, shard: int) -> Iterable[Rows]:
        """Return the rows of a split and a hosted shard, in parts."""
        return in_parts(self.shards[shard][split], self._job.window)

    def close(self) -> None:
        """Do nothing: nothing reads in the background."""


def fits_gpu(device: torch.device, num_bytes: int) -> bool:
    """Return whether a GPU has room for so many bytes of rows."""
    free, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= free * _SHARE_OF_GPU


def _check_sizes(job: TrainJob, shard: int, loaded: ShardData) -> None:
    for split in SPLITS:
        expected = num_rows_of(job.data, split, shard)
        if len(loaded[split]) != expected:
            raise DataError(
                f"shard {shard} of {job.data.name} holds {len(loaded[split])} "
                f"{split} rows, not {expected}",
                "cut the data set again: rnnjob data prepare",
            )


class HeldEpoch:
    """The training rows in the order of one epoch, with the account of their use."""

    def __init__(
        self,
        job: TrainJob,
        train: Rows,
        orders: dict[int, NDArray[np.int64]],
        epoch: int,
        steps_done: int,
        is_streamed: bool = False,
    ) -> None:
        """
        Args:
            train: the training rows of all hosted shards, one shard after the other.
            orders: the rows of each shard, in the order of the epoch.
            is_streamed: a step's rows are to be pinned, because a GPU copies them later.
        """
        self._train, self._is_streamed = train, is_streamed
        self._rows_per_shard_step = job.rows_per_shard_step
        self._orders = orders
        self._index = torch.from_numpy(self._in_order_of_steps()).to(train.targets_N.device)
        self.account = RowAccount(epoch + 1, {s: len(order) for s, order in orders.items()})
        for shard, order in orders.items():
            self.account.use(shard, order[: steps_done * self._rows_per_shard_step])

    def step(self, step: int) -> dict[int, Rows]:
        """Return the rows of step `step` (from 0) for each hosted shard, and count them as used."""
        sizes = []
        for shard, rows in self._step_rows(step).items():
            self.account.use(shard, rows)
            sizes.append(len(rows))
        # All steps before this one are full. One look-up serves all shards.
        first = step * self._rows_per_shard_step * len(sizes)
        index = self._index[first : first + sum(sizes)]
        taken = self._train.take(index)
        if self._is_streamed:
            taken = taken.pinned()
        return dict(zip(self._orders, taken.split(sizes), strict=True))

    def _step_rows(self, step: int) -> dict[int, NDArray[np.int64]]:
        """Return the numbers of the step's rows within each shard."""
        return {
            shard: step_rows(order, step, self._rows_per_shard_step)
            for shard, order in self._orders.items()
        }

    def _in_order_of_steps(self) -> NDArray[np.int64]:
        """Return the numbers of all rows within `train`, step after step, shard after shard."""
        sizes = [len(order) for order in self._orders.values()]
        offsets = np.cumsum([0, *sizes[:-1]])
        rows = [order + start for order, start in zip(self._orders.values(), offsets, strict=True)]
        # Shards differ by one row at most, so only the last step is not full.
        each = min(self._rows_per_shard_step, max(sizes))
        num_full = min(sizes) // each if each else 0
        full = [part[: num_full * each].reshape(num_full, each) for part in rows]
        last = [part[num_full * each :] for part in rows]
        return np.concatenate([np.concatenate(full, axis=1).reshape(-1), *last])
