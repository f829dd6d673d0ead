"""What is read of one input: its rows in blocks, and what is known of them before."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from orchestrator.datasets.tables.unlabelled import RowBlock, TableBlocks

INVERTED = "images inverted"


@dataclass
class Notes:
    """What was done to rows so that the model can read them, to be said at the end."""

    lines: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """How many pictures were changed, by the sentence that says how."""

    def all(self) -> list[str]:
        return [*dict.fromkeys(self.lines), *(f"{what}: {n:,}" for what, n in self.counts.items())]


class Source(Protocol):
    """One file with rows, or several pictures."""

    num_rows: int | None
    """None if nobody knows without reading them."""
    id_type: pa.DataType | None
    """The type of what identifies its rows: int64 or texts; None if nothing does."""

    def blocks(self, block_rows: int) -> Iterator[RowBlock]:
        """Yield the rows in their order, `block_rows` of them at most. Raises DataError."""
        ...


class TableSource:
    """A Parquet file."""

    def __init__(self, file: TableBlocks, invert: bool, notes: Notes) -> None:
        self._file, self._invert, self._notes = file, invert, notes
        self.num_rows: int | None = file.num_rows
        self.id_type = file.id_type

    def blocks(self, block_rows: int) -> Iterator[RowBlock]:
        for block in self._file.blocks(self._file.block_rows(block_rows)):
            if self._invert:
                self._notes.counts[INVERTED] += len(block.inputs)
            yield block
