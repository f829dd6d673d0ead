"""Rows that a worker reads from files while it trains, a window of each shard at a time.

See `workers.shards.windows` for the order. Of each shard, two windows are in memory at most: one
that steps take rows of, and the next one, which threads read meanwhile. N rows.
"""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from workers.config import TrainJob
from workers.data.rows import Rows, joined, padded_to_longest
from workers.shards.account import RowAccount
from workers.shards.read_ahead import ReadAhead
from workers.shards.rows_source import StoredShard, part_rows
from workers.shards.shard_file import num_rows_of
from workers.shards.windows import Window, WindowedOrder


class StreamedRows:
    """All splits of the shards that one worker hosts, in their files."""

    def __init__(
        self,
        job: TrainJob,
        shards: range,
        open_shard: Callable[[int], StoredShard],
        device: torch.device,
    ) -> None:
        started = time.perf_counter()
        self._job, self._device = job, device
        self._stored = {shard: open_shard(shard) for shard in shards}
        self._epoch: StreamedEpoch | None = None
        self.load_s = time.perf_counter() - started

    def epoch(self, epoch: int, steps_done: int) -> "StreamedEpoch":
        """Return the rows of epoch `epoch` (from 0). `steps_done`: its steps before a restart."""
        self.close()
        self._epoch = StreamedEpoch(self._job, self._stored, epoch, steps_done, self._device)
        return self._epoch

    def parts(self, split: str, shard: int) -> Iterator[Rows]:
        """Return the rows of a split and a hosted shard, in parts that are read one by one."""
        num_rows = num_rows_of(self._job.data, split, shard)
        size = part_rows(num_rows, self._job.window)
        for first in range(0, num_rows, size):
            span = range(first, min(first + size, num_rows))
            yield for_device(self._stored[shard].read(split, [span]), self._job, self._device)

    def close(self) -> None:
        """End what reads in the background, and give up its memory."""
        epoch, self._epoch = self._epoch, None
        if epoch is not None:
            epoch.close()


class StreamedEpoch:
    """The training rows of the hosted shards in the order of one epoch, as they are read."""

    def __init__(
        self,
        job: TrainJob,
        stored: dict[int, StoredShard],
        epoch: int,
        steps_done: int,
        device: torch.device,
    ) -> None:
        assert job.window is not None
        self._job, self._device = job, device
        self._per_step = job.rows_per_shard_step
        sizes = {shard: num_rows_of(job.data, "train", shard) for shard in stored}
        self.account = RowAccount(epoch + 1, sizes)
        orders = {
            shard: WindowedOrder(job.training.seed, epoch, shard, size, job.window)
            for shard, size in sizes.items()
        }
        done = steps_done * self._per_step
        for shard, order in orders.items():
            for number in range(order.num_windows):
                if (at := order.positions(number)).start < done:
                    self.account.use(shard, order.window(number).row_numbers()[: done - at.start])
        needed = _in_order_of_need(orders, done, self._per_step)
        calls = (_read(stored[shard], orders[shard], number) for shard, number in needed)
        self._read_ahead = ReadAhead(calls, len(stored), min(job.cpus_per_worker, len(stored)))
        self._shards = {
            shard: _ShardInWindows(size, self._read_ahead.take) for shard, size in sizes.items()
        }

    def step(self, step: int) -> dict[int, Rows]:
        """Return the rows of step `step` (from 0) for each hosted shard, and count them as used."""
        batches = {}
        for shard, windows in self._shards.items():
            rows, rows_N = windows.take(step * self._per_step, (step + 1) * self._per_step)
            self.account.use(shard, rows_N)
            if rows.lengths_N is not None:  # as `by_length`
                rows = rows.take(rows.lengths_N.argsort(stable=True))
            batches[shard] = for_device(rows, self._job, self._device)
            if self._device.type == "cuda":
                batches[shard] = batches[shard].pinned()
        return batches

    def close(self) -> None:
        """End the threads that read, and give up the windows."""
        self._read_ahead.close()
        self._shards.clear()


class _ShardInWindows:
    """The rows of one shard, window after window."""

    def __init__(self, num_rows: int, next_window: Callable[[], tuple[Window, Rows]]) -> None:
        self._num_rows, self._next_window = num_rows, next_window
        self._window: Window | None = None
        self._rows: Rows | None = None

    def take(self, first: int, stop: int) -> tuple[Rows, NDArray[np.int64]]:
        """Return the rows at some positions of the epoch, which follow those taken before, and
        their numbers in the shard."""
        stop = min(stop, self._num_rows)
        parts, numbers = [], []
        while True:
            if self._window is None or self._window.positions.stop <= first < stop:
                self._window = self._rows = None  # free before the next one is waited for
                self._window, self._rows = self._next_window()
            assert self._rows is not None
            at = self._window.positions
            taken = slice(first - at.start, max(first, min(stop, at.stop)) - at.start)
            places = self._window.places_N[taken]
            parts.append(self._rows.take(torch.from_numpy(places)))
            numbers.append(self._window.row_numbers()[taken])
            first += len(places)
            if first >= stop:
                return joined(parts), np.concatenate(numbers)


def _in_order_of_need(
    orders: dict[int, WindowedOrder], done: int, per_step: int
) -> list[tuple[int, int]]:
    """Return the shard and the number of each window from position `done` on, in the order in which
    the steps take them."""
    found = [
        (max(at.start, done) // per_step, place, number, shard)
        for place, (shard, order) in enumerate(orders.items())
        for number in range(order.num_windows)
        if (at := order.positions(number)).stop > done or number == order.num_windows - 1
    ]
    return [(shard, number) for _, _, number, shard in sorted(found)]


def _read(
    stored: StoredShard, order: WindowedOrder, number: int
) -> Callable[[], tuple[Window, Rows]]:
    def read() -> tuple[Window, Rows]:
        window = order.window(number)
        return window, stored.read("train", window.blocks)

    return read


def for_device(rows: Rows, job: TrainJob, device: torch.device) -> Rows:
    """Return rows as steps on a device take them: a GPU reads them from places that do not depend
    on their lengths."""
    return padded_to_longest(rows, job.data) if device.type == "cuda" else rows
