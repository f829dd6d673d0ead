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
from workers.data.encode_images import COLUMN, encode_images
from workers.data.kinds import DataShape, ImageInput, TokenInput
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

    def __init__(self, tables: Tables, file: TableFile, shape: DataShape, id_column: str) -> None:
        """Look at the columns. Raises DataError if one that the model reads is missing.

        `id_column`: the column with the ids, if the file has it.
        """
        self._tables, self._file, self._source = tables, file, shape.input
        # A file that is named itself is its own folder.
        self._shown = file.path if "://" in tables.uri else tables.uri
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

    def block_rows(self, most: int) -> int:
        """Return how many rows a block has: `most`, or fewer of a file whose rows are large."""
        return min(most, self._most_rows)

    def blocks(self, block_rows: int, first: int = 0) -> Iterator[RowBlock]:
        """Yield the rows from block number `first` on. Raises DataError."""
        at, waiting = first * block_rows, list[pa.RecordBatch]()
        columns = [*self._columns, *([self._id_column] if self._id_column else [])]
        for start, batch in self._tables.batches(self._file, columns):
            batch = batch.slice(max(0, at - start))  # rows before the first block are not wanted
            waiting += [batch] if batch.num_rows else []
            while sum(part.num_rows for part in waiting) >= block_rows:
                rows, waiting = _taken(waiting, block_rows)
                yield self._block(rows, at)
                at += block_rows
        if waiting:
            yield self._block(_joined(waiting), at)

    def _block(self, rows: pa.RecordBatch, first: int) -> RowBlock:
        where = where_in(self._file.name, first)
        columns = [rows.column(column) for column in self._columns]
        with reading(self._tables.uri, self._file.name):
            if isinstance(self._source, ImageInput):
                inputs = encode_images(columns[0], self._source, where)
            else:
                inputs = encode_inputs(columns, self._source, where)
            ids = rows.column(self._id_column) if self._id_column else None
            ids = None if ids is None else pc.cast(decoded(ids), self.id_type)
        return block_of(self._shown, first, inputs, ids)


def columns_read(shape: DataShape) -> Sequence[str]:
    """Return the columns that a model reads of a table."""
    if isinstance(shape.input, ImageInput):
        return (COLUMN,)
    return (shape.input.column,) if isinstance(shape.input, TokenInput) else shape.input.columns


def where_in(file: str, first: int, what: str = "row") -> Where:
    """Return what names a row of a block, for errors."""
    return lambda row: f"{what} {first + row:,} (from 0) of {file}"


def _taken(
    batches: list[pa.RecordBatch], num_rows: int
) -> tuple[pa.RecordBatch, list[pa.RecordBatch]]:
    """Return the first rows of some batches as one, and what is left of the batches."""
    taken: list[pa.RecordBatch] = []
    for number, batch in enumerate(batches):
        taken.append(batch.slice(0, num_rows))
        if batch.num_rows >= num_rows:
            rest = [batch.slice(num_rows)] if batch.num_rows > num_rows else []
            return _joined(taken), [*rest, *batches[number + 1 :]]
        num_rows -= batch.num_rows
    raise AssertionError("fewer rows than asked for")


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.Table.from_batches(batches).combine_chunks()
    [batch] = table.to_batches()
    return batch
