"""The order of a shard's rows with `dataset.window`: only a window of them is needed at a time.

A shard is cut into blocks of neighbouring rows. In each epoch the blocks come in an order that is
drawn anew, a window takes the next of them, and its rows are shuffled. So an epoch can be begun at
any step by reading one window. Everything is a function of (seed, epoch, shard, window) and of the
number of rows; whether they are held or streamed changes nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.seeds import Purpose, stream
from workers.shards.order import drawn_order, epoch_order

MOST_BLOCK_ROWS = 1024
"""The rows of a block, if the window has room for several. Files are cut so that each such block is
one read."""
_BLOCKS_OF_A_WINDOW = 8
"""How many blocks a small window takes at least, so that it mixes rows from several places."""


def block_rows(window: int) -> int:
    """Return the rows of a block: a power of two, which fits the row groups of any file."""
    most = max(1, min(MOST_BLOCK_ROWS, window // _BLOCKS_OF_A_WINDOW))
    return 1 << (most.bit_length() - 1)


@dataclass(frozen=True)
class Window:
    """Rows that are in memory together. N rows."""

    positions: range
    """Their places in the order of the epoch."""
    blocks: list[range]
    """The rows of each of its blocks, ascending."""
    places_N: NDArray[np.int64]
    """For each position the place of its row among the rows of `blocks`."""

    def row_numbers(self) -> NDArray[np.int64]:
        """For each position the number of its row within the shard."""
        rows = [np.arange(block.start, block.stop) for block in self.blocks]
        return np.concatenate(rows)[self.places_N]


class WindowedOrder:
    """The order of one shard's rows in one epoch, window by window."""

    def __init__(self, seed: int, epoch: int, shard: int, num_rows: int, window: int) -> None:
        """`num_rows`: those of the shard. `window`: the most rows of a window."""
        self._seed, self._where = seed, (epoch, shard)
        self._num_rows, self._block_rows = num_rows, block_rows(window)
        num_blocks = -(-num_rows // self._block_rows)
        order = drawn_order(stream(seed, Purpose.BLOCKS, epoch, shard), num_blocks)
        # Of about equal size: a last window of a few blocks would hardly mix its rows.
        self.num_windows = -(-num_blocks // (window // self._block_rows))
        self._blocks = np.array_split(order, self.num_windows) if num_rows else []
        sizes = [sum(len(self._block(block)) for block in blocks) for blocks in self._blocks]
        self._starts = np.cumsum([0, *sizes])

    def _block(self, number: int) -> range:
        first = number * self._block_rows
        return range(first, min(first + self._block_rows, self._num_rows))

    def positions(self, number: int) -> range:
        """Return the places of a window's rows in the order of the epoch."""
        return range(int(self._starts[number]), int(self._starts[number + 1]))

    def window(self, number: int) -> Window:
        positions = self.positions(number)
        return Window(
            positions,
            [self._block(int(block)) for block in np.sort(self._blocks[number])],
            drawn_order(stream(self._seed, Purpose.WINDOW, *self._where, number), len(positions)),
        )

    def rows(self) -> NDArray[np.int64]:
        """Return the whole order: a permutation of the rows of the shard."""
        parts = [self.window(number).row_numbers() for number in range(self.num_windows)]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def order_of(
    seed: int, epoch: int, shard: int, num_rows: int, window: int | None
) -> NDArray[np.int64]:
    """Return the order of a shard's rows in one epoch, with or without a window."""
    if window is None:
        return epoch_order(seed, epoch, shard, num_rows)
    return WindowedOrder(seed, epoch, shard, num_rows, window).rows()
