"""Rows of tables for a model that is trained already: its own kinds say what they are."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from orchestrator.datasets.options import TABLE_PREFIX, TableOptions
from orchestrator.datasets.tables.files import TableFile, Tables, find_tables, reading
from orchestrator.datasets.tables.schema import type_of
from orchestrator.datasets.tables.splits import split_of
from orchestrator.datasets.tables.spool import Spool
from workers.data.encode import encode_inputs
from workers.data.kinds import DataShape, ImageInput
from workers.data.numbers import Where
from workers.data.shard_schema import shard_schema
from workers.data.targets.encode import encode_targets
from workers.errors import InputError
from workers.storage.storage import storage_errors

_SPLIT = "split"


def labelled_rows(
    name: str, shape: DataShape, options: TableOptions, split: str | None
) -> list[pa.RecordBatch]:
    """Return rows with their targets as batches of `shard_schema`, in the order of the files.

    They lie in a file without a name on the local disk, and take no memory of their own.

    Args:
        name: `parquet:` and the URI of the tables.
        shape: what the model was trained on, no images.
        options: what the columns of the training tables were.
        split: only the rows of this split, which a column names; None for all rows.

    Raises DataError if a column or a class is not one that the model knows.
    """
    tables = find_tables(name.removeprefix(TABLE_PREFIX))
    split_column = (options.split or _SPLIT) if split else None
    parts = (
        part for file in tables.files for part in _of_file(tables, file, shape, split_column, split)
    )
    with tempfile.TemporaryDirectory() as folder:
        spool = Spool(Path(folder) / "rows")
        for part in parts:
            with storage_errors("write", folder):
                spool.add(part)
        with storage_errors("write", folder):
            spool.close()
        found = [part for _, part in spool.parts()]
    if not found:
        what = f"no {split} rows" if split else "no rows"
        raise InputError(f"{name} has {what}", "name another split, or other tables")
    return found


def _of_file(
    tables: Tables, file: TableFile, shape: DataShape, split_column: str | None, split: str | None
) -> Iterator[pa.RecordBatch]:
    source, inputs = shape.input, shape.input.read_columns
    assert not isinstance(source, ImageInput)
    columns = [*inputs, shape.target.column, *([split_column] if split_column else [])]
    with tables.open(file) as opened, reading(tables.uri, file.name):
        schema = opened.schema_arrow
    for column in columns:
        type_of(schema, column, f"of {file.name}")
    for first, batch in tables.batches(file, list(dict.fromkeys(columns))):
        where = _where(file, first)
        rows = [batch.column(column) for column in inputs]
        with reading(tables.uri, file.name):
            part = pa.record_batch(
                [
                    encode_inputs(rows, source, where),
                    encode_targets(batch.column(shape.target.column), shape.target, where),
                ],
                shard_schema(shape),
            )
        if split_column:
            texts = batch.column(split_column).to_pylist()
            keep = [split_of(text, split_column, where(n)) == split for n, text in enumerate(texts)]
            part = part.filter(pa.array(keep, pa.bool_()))
        yield part


def _where(file: TableFile, first: int) -> Where:
    return lambda row: f"row {first + row:,} (from 0) of {file.name}"
