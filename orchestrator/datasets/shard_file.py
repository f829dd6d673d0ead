"""The file of a shard: Parquet with the columns `image` and `label`. Its name, form and rows."""

import pyarrow as pa
import pyarrow.parquet as pq

from workers.data.kinds import DataShape, ImageInput

MAX_CLASSES = 256
"""The most classes that labels of one byte can tell apart."""
_MAX_PIXELS = 2**31 - 1
"""The longest fixed-size list that Arrow allows."""


def _pixels(shape: DataShape) -> int:
    assert isinstance(shape.input, ImageInput)
    return shape.input.height * shape.input.width


def shard_name(split: str, shard: int, num_shards: int) -> str:
    return f"{split}-{shard:05d}-of-{num_shards:05d}.parquet"


def num_rows_of(shape: DataShape, split: str, shard: int) -> int:
    """Return `len(shard_rows(...))`, also for numbers that are too large for a range."""
    return max(0, -(-(shape.num_rows(split) - shard) // shape.num_shards))


def check_shape(shape: DataShape) -> None:
    """Raise ValueError if no shard file could hold rows of this shape."""
    if shape.target.num_outputs > MAX_CLASSES:
        raise ValueError(f"{shape.target.num_outputs} classes are more than {MAX_CLASSES}")
    if _pixels(shape) > _MAX_PIXELS:
        raise ValueError(f"images of {_pixels(shape)} pixels are too large")


def bytes_per_row(shape: DataShape) -> int:
    """Return the memory of a row."""
    return _pixels(shape) + 8


def not_standardized(shape: DataShape) -> DataShape:
    """Return the shape of data that keep the numbers which they have."""
    source = shape.input.model_copy(update={"mean": 0.0, "std": 1.0})
    return shape.model_copy(update={"input": source})


def max_bytes(shape: DataShape, num_rows: int) -> int:
    """Return the largest size of a file with so many rows, and of what it unfolds to.

    Parquet needs a little more than a byte for a pixel, and less after compression.
    """
    return 2**20 + 2 * num_rows * (_pixels(shape) + 8)


def open_shard(data: bytes, shape: DataShape, num_rows: int) -> pq.ParquetFile:
    """Open a shard without reading its rows. Raises ValueError if it does not have this form."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        columns = {field.name: field.type for field in file.schema_arrow}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is not a Parquet file: {_first_line(error)}") from error
    wanted = {"image": pa.list_(pa.uint8(), _pixels(shape)), "label": pa.uint8()}
    if columns != wanted:
        raise ValueError(f"its columns are {_describe(columns)}, not {_describe(wanted)}")
    if file.metadata.num_rows != num_rows:
        raise ValueError(f"it has {file.metadata.num_rows} rows, not {num_rows}")
    _check_chunks(file.metadata, shape, num_rows)
    return file


def _check_chunks(metadata: pq.FileMetaData, shape: DataShape, num_rows: int) -> None:
    """Raise ValueError if the chunks of the columns unfold to more values or bytes than the rows.

    A chunk of a few bytes may stand for billions of values.
    """
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    chunks = [group.column(place) for group in groups for place in range(group.num_columns)]
    num_values = sum(chunk.num_values for chunk in chunks)
    wanted = num_rows * (_pixels(shape) + 1)
    if num_values != wanted or sum(group.num_rows for group in groups) != num_rows:
        raise ValueError(f"it has {num_values} values, not {wanted}")
    num_bytes = sum(chunk.total_uncompressed_size for chunk in chunks)
    if num_bytes > (limit := max_bytes(shape, num_rows)):
        raise ValueError(f"it unfolds to {num_bytes:,} bytes, more than {limit:,}")


def read_shard(file: pq.ParquetFile, shape: DataShape) -> pa.Table:
    """Return all rows of a shard.

    Raises ValueError if a row lacks its image or label, or has a label that is not below
    `num_classes`.
    """
    try:
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(_first_line(error)) from error
    missing = sum(column.null_count for column in table.columns)
    if missing or table.num_rows != file.metadata.num_rows:
        raise ValueError(f"it has {table.num_rows} rows with {missing} missing values")
    highest = max(table.column("label").unique().to_pylist(), default=0)
    if highest >= shape.target.num_outputs:
        raise ValueError(f"it has a label {highest}, but only {shape.target.num_outputs} classes")
    return table


def _describe(columns: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "none"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
