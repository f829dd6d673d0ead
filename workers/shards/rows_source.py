"""The interface between training and where its rows are: in memory, or in files.

Both implementations give the same rows in the same order, so the choice never changes a result.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from workers.data.rows import Rows, ShardData
from workers.shards.account import RowAccount
from workers.shards.windows import MOST_BLOCK_ROWS

Parts = Callable[[str, int], Iterable[Rows]]
"""Returns the rows of a split and a shard, in their order, in the parts that an evaluation adds up.

Which rows make up a part is decided by the job alone: it decides the bits of the sums."""


class EpochRows(Protocol):
    """The training rows of the hosted shards, in the order of one epoch."""

    account: RowAccount

    def step(self, step: int) -> dict[int, Rows]:
        """Return the rows of step `step` (from 0) for each hosted shard, and count them as used.

        The steps are asked for one after the other.
        """
        ...


class RowsSource(Protocol):
    """All splits of the shards that one worker hosts: `HeldRows` or `StreamedRows`."""

    load_s: float
    """The seconds that it took to make them ready."""

    def epoch(self, epoch: int, steps_done: int) -> EpochRows:
        """Return the rows of epoch `epoch` (from 0). `steps_done`: its steps before a restart.

        It ends the epoch before it.
        """
        ...

    def parts(self, split: str, shard: int) -> Iterable[Rows]:
        """Return the rows of a split and a hosted shard; see `Parts`."""
        ...

    def close(self) -> None:
        """End what reads in the background."""
        ...


class StoredShard(Protocol):
    """The rows of one shard where they are stored."""

    def load(self) -> ShardData:
        """Return all rows. Raises DataError."""
        ...

    def read(self, split: str, spans: Sequence[range]) -> Rows:
        """Return the rows with these numbers, which ascend. Raises DataError."""
        ...


def part_rows(num_rows: int, window: int | None) -> int:
    """Return how many rows a part has: with a window few enough to be read at once."""
    return max(1, num_rows) if window is None else min(window, MOST_BLOCK_ROWS)


def in_parts(rows: Rows, window: int | None) -> Iterator[Rows]:
    """Return rows that are in memory in the parts of `Parts`. No rows have no parts."""
    yield from rows.pieces(part_rows(len(rows), window))
