"""Rows of one Parquet file for a model that is trained already, without targets, in blocks.

A block is a fixed number of rows of one file, and its number alone says which. So it does not
matter in which process, or in which order, blocks are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.datasets.tables.files import TableFile, Tables, batch_rows, reading
from orchestrator.datasets.tables.schema import type_of
from workers.data.columns import family
from workers.data.encode import encode_inputs
from workers.data.encode_images import encode_images
from workers.data.kinds import DataShape, ImageInput
from workers.data.numbers import Where, decoded


@dataclass(frozen=True)
class RowBlock:
    """Some rows, and where each is from."""

    files: pa.Array
    rows: pa.Array
    """The number of each row in its file, from 0."""
    inputs: pa.Array
    """The input column of `shard_schema`."""
    ids: pa.Array | None = None
    """What identifies the rows, if the file says so: int64 or texts."""


def block_of(file: str, first: int, inputs: pa.Array, ids: pa.Array | None = None) -> RowBlock:
    """Return rows of one file that follow each other. `first`: the number of the first row."""
    num_rows = len(inputs)
    files = pa.repeat(pa.scalar(file, pa.string()), num_rows)
    return RowBlock(files, pa.array(range(first, first + num_rows), pa.int64()), inputs, ids)


class TableBlocks:
    """The rows of one file."""

    def __init__(
        self,
        tables: Tables,
        file: TableFile,
        shape: DataShape,
        id_column: str,
        shown: str,
        invert: bool = False,
    ) -> None:
        """Look at the columns. Raises DataError if one that the model reads is missing.

        Args:
            id_column: the column with the ids, if the file has it.
            shown: what predictions call the file.
            invert: whether bright becomes dark in images.
        """
        self.tables, self.file, self.shown, self._invert = tables, file, shown, invert
        self._source = shape.input
        self._columns = columns_read(shape)
        with tables.open(file) as opened, reading(tables.uri, file.name):
            schema, metadata = opened.schema_arrow, opened.metadata
            self.num_rows: int = metadata.num_rows
            self._most_rows = batch_rows(metadata)
        for column in self._columns:
            type_of(schema, column, f"of {file.name}")
        self._id_column: str | None = None
        self.id_type: pa.DataType | None = None
        """int64 or texts; None if the file has no ids."""
        if id_column in schema.names and id_column not in self._columns:
            found = family(type_of(schema, id_column, f"of {file.name}"))
            if found != "other":
                self._id_column = id_column
                self.id_type = pa.int64() if found == "integer" else pa.string()

    def digest(self) -> str:
        """Return what changes with the file: see `Tables.digest`."""
        return self.tables.alone(self.file).digest()

    def block_rows(self, most: int) -> int:
        """Return how many rows a block has: `most`, or fewer of a file whose rows are large."""
        return min(most, self._most_rows)

    def blocks(self, block_rows: int, first_row: int = 0) -> Iterator[RowBlock]:
        """Yield the rows from one on that begins a block. Raises DataError."""
        reader = BlockReader(self, block_rows, first_row)
        while block := reader.read():
            yield block

    def batches(self, first_row: int) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield what blocks are made of, each batch with the number of its first row."""
        columns = [*self._columns, *([self._id_column] if self._id_column else [])]
        return self.tables.batches(self.file, columns, first_row)

    def block(self, rows: pa.RecordBatch, first: int) -> RowBlock:
        """Return rows of a batch in the form that the model reads. Raises DataError."""
        where = where_in(self.file.name, first)
        columns = [rows.column(column) for column in self._columns]
        with reading(self.tables.uri, self.file.name):
            if isinstance(self._source, ImageInput):
                inputs = encode_images(columns[0], self._source, where, self._invert)
            else:
                inputs = encode_inputs(columns, self._source, where)
            ids = rows.column(self._id_column) if self._id_column else None
            ids = None if ids is None else pc.cast(decoded(ids), self.id_type)
        return block_of(self.shown, first, inputs, ids)


class BlockReader:
    """Reads a file block by block, and may pass over some, but never goes back."""

    def __init__(self, file: TableBlocks, block_rows: int, first_row: int = 0) -> None:
        """`first_row`: a row that begins a block."""
        self.at = first_row
        """The row that is read next."""
        self._file, self._block_rows = file, block_rows
        self._batches = file.batches(first_row)
        self._waiting: list[pa.RecordBatch] = []

    def skip_to(self, row: int) -> None:
        """Pass over the rows before one that begins a block."""
        while self.at < row:
            self._fill(1)
            skipped, self._waiting = _taken(self._waiting, row - self.at)
            if not skipped:
                return  # the file has ended
            self.at += sum(batch.num_rows for batch in skipped)

    def read(self) -> RowBlock | None:
        """Return the next block; None at the end of the file. Raises DataError."""
        self._fill(self._block_rows)
        rows, self._waiting = _taken(self._waiting, self._block_rows)
        if not rows:
            return None
        block = self._file.block(_joined(rows), self.at)
        self.at += len(block.inputs)
        return block

    def _fill(self, num_rows: int) -> None:
        """Read until so many rows are waiting, or the file ends."""
        while sum(batch.num_rows for batch in self._waiting) < num_rows:
            start, batch = next(self._batches, (0, None))
            if batch is None:
                return
            batch = batch.slice(max(0, self.at - start)) if not self._waiting else batch
            self._waiting += [batch] if batch.num_rows else []


def columns_read(shape: DataShape) -> Sequence[str]:
    """Return the columns that a model reads of a table."""
    return shape.input.read_columns


def where_in(file: str, first: int, what: str = "row") -> Where:
    """Return what names a row of a block, for errors."""
    return lambda row: f"{what} {first + row:,} (from 0) of {file}"


def _taken(
    batches: list[pa.RecordBatch], num_rows: int
) -> tuple[list[pa.RecordBatch], list[pa.RecordBatch]]:
    """Return the first rows of some batches, and what is left of the batches."""
    taken: list[pa.RecordBatch] = []
    for number, batch in enumerate(batches):
        if not num_rows:
            return taken, batches[number:]
        taken.append(batch.slice(0, num_rows))
        if batch.num_rows > num_rows:
            return taken, [batch.slice(num_rows), *batches[number + 1 :]]
        num_rows -= batch.num_rows
    return taken, []


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).combine_chunks()
    [batch] = table.to_batches()
    return batch
