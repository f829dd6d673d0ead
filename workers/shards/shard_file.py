"""The file of a shard: Parquet with the columns of `shard_schema`. Its name, form and rows.

A file may be a stranger's. Nothing is unfolded to more than what the manifest says.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from workers.data.kinds import DataShape, Input
from workers.data.numbers import first_line
from workers.data.shard_schema import shard_schema
from workers.errors import InputError
from workers.shards.windows import MOST_BLOCK_ROWS

_GROUP_BYTES = 2**20
_GROUPS_OF_PART = 16
"""How many row groups are decoded at once."""
_FOOTER_END = 8
"""The length of the footer, then the letters PAR1."""
_MOST_FOOTER_BYTES = 2**26


@dataclass(frozen=True)
class ShardSize:
    """What the manifest says of a shard."""

    rows: int
    steps: int
    """The time steps of all rows; 0 for images."""


def shard_name(split: str, shard: int, num_shards: int) -> str:
    return f"{split}-{shard:05d}-of-{num_shards:05d}.parquet"


def check_num_shards(train_rows: int, num_shards: int) -> None:
    """Raise InputError if a shard would have no training row."""
    if train_rows < num_shards:
        raise InputError(
            f"{train_rows} training rows do not fill {num_shards} shards",
            "take fewer shards: --set dataset.num_shards=1",
        )


def num_rows_of(shape: DataShape, split: str, shard: int) -> int:
    """Return `len(shard_rows(...))`, also for numbers that are too large for a range."""
    return max(0, -(-(shape.num_rows(split) - shard) // shape.num_shards))


def check_shape(shape: DataShape) -> None:
    """Raise ValueError if no shard file could hold rows of this shape."""
    shape.input.check_size(shape.target.num_outputs)


def num_values(shape: DataShape, size: ShardSize) -> int:
    """Return how many pixels, numbers or tokens the rows have."""
    return shape.input.num_values(size.rows, size.steps)


def num_bytes(shape: DataShape, size: ShardSize) -> int:
    """Return how much memory the rows take."""
    return shape.input.num_bytes(size.rows, size.steps)


def max_bytes(shape: DataShape, size: ShardSize) -> int:
    """Return the largest size of a file with so many rows, and of what it unfolds to.

    Parquet needs a little more than a byte for a pixel, and less after compression.
    """
    return 2**20 + 2 * (num_bytes(shape, size) + 8 * size.rows)


def group_rows(bytes_per_row: float) -> int:
    """Return the rows of a row group: those of a block, or fewer if they are large.

    A power of two, so that smaller and larger blocks fit it, too.
    """
    most = max(1, min(MOST_BLOCK_ROWS, int(_GROUP_BYTES / max(1.0, bytes_per_row))))
    return 1 << (most.bit_length() - 1)


def footer_sha256(file: Any) -> str:
    """Return the SHA-256 of a file's footer, which has places, sizes and ranges of all that is in
    it. Raises ValueError if it has none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _FOOTER_END))
    end = file.read(_FOOTER_END)
    length = int.from_bytes(end[:4], "little") + _FOOTER_END
    if len(end) < _FOOTER_END or length > min(size, _MOST_FOOTER_BYTES):
        raise ValueError("it has no Parquet footer")
    file.seek(size - length)
    return hashlib.sha256(file.read(length)).hexdigest()


def open_shard(source: Any, shape: DataShape, size: ShardSize) -> pq.ParquetFile:
    """Open a shard without reading its rows. Raises ValueError if it does not have this form.

    `source`: its content, or the open file.
    """
    try:
        opened = pa.BufferReader(source) if isinstance(source, bytes) else source
        file = pq.ParquetFile(opened, page_checksum_verification=True)
        columns = {field.name: field.type for field in file.schema_arrow}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is not a Parquet file: {first_line(error)}") from error
    wanted = {field.name: field.type for field in shard_schema(shape)}
    if columns != wanted:
        raise ValueError(f"its columns are {_describe(columns)}, not {_describe(wanted)}")
    if file.metadata.num_rows != size.rows:
        raise ValueError(f"it has {file.metadata.num_rows} rows, not {size.rows}")
    _check_chunks(file.metadata, shape, size)
    return file


def _check_chunks(metadata: pq.FileMetaData, shape: DataShape, size: ShardSize) -> None:
    """Raise ValueError if the chunks of the columns unfold to more values or bytes than the rows.

    A chunk of a few bytes may stand for billions of values.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    found = sum(chunk.num_values for chunk in chunks)
    wanted = num_values(shape, size) + size.rows
    if found != wanted or sum(group.num_rows for group in groups) != size.rows:
        raise ValueError(f"it has {found} values, not {wanted}")
    unfolded = sum(chunk.total_uncompressed_size for chunk in chunks)
    if unfolded > (limit := max_bytes(shape, size)):
        raise ValueError(f"it unfolds to {unfolded:,} bytes, more than {limit:,}")


def read_shard_in_parts(file: pq.ParquetFile, shape: DataShape) -> Iterator[pa.Table]:
    """Return all rows of a shard, some row groups after the other. Raises ValueError as
    `check_rows`.

    While pyarrow decodes lists, it takes several times the memory of their numbers.
    """
    metadata = file.metadata
    groups = list(range(metadata.num_row_groups))
    for first in range(0, max(1, len(groups)), _GROUPS_OF_PART):
        part = groups[first : first + _GROUPS_OF_PART]
        try:
            table = file.read_row_groups(part)
            check_rows(table, shape, sum(metadata.row_group(number).num_rows for number in part))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(first_line(error)) from error
        yield table


def check_rows(table: pa.Table, shape: DataShape, num_rows: int) -> None:
    """Raise ValueError or ArrowException if rows are missing, lack their input or target, or have
    one that the shape does not allow."""
    table.validate(full=True)
    missing = sum(column.null_count for column in table.columns)
    if missing or table.num_rows != num_rows:
        raise ValueError(f"it has {table.num_rows} rows with {missing} missing values")
    inputs, target = (table.column(field.name) for field in shard_schema(shape))
    if len(target):
        shape.target.check_values(target.to_numpy())
    for chunk in inputs.chunks:
        _check_inputs(chunk, shape.input)


def _check_inputs(chunk: pa.Array, kind: Input) -> None:
    flat = chunk.flatten()
    if flat.null_count:
        raise ValueError(f"it has inputs with {flat.null_count} missing values")
    if len(chunk):
        kind.check_values(flat.to_numpy(), np.asarray(chunk.value_lengths(), np.int64))


def _describe(columns: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "none"
