"""A shard as it is stored: a Parquet file with columns `image` and `label`."""

import pyarrow as pa
import pyarrow.parquet as pq

from workers.config import DataShape

MAX_CLASSES = 256
"""Labels are bytes."""
_MAX_PIXELS = 2**31 - 1


def shard_name(split: str, shard: int, num_shards: int) -> str:
    return f"{split}-{shard:05d}-of-{num_shards:05d}.parquet"


def num_rows_of(shape: DataShape, split: str, shard: int) -> int:
    """`len(shard_rows(...))`, also of numbers that no range can have."""
    return max(0, -(-(shape.num_rows(split) - shard) // shape.num_shards))


def check_shape(shape: DataShape) -> None:
    """Raises ValueError where no file could hold such rows."""
    if shape.num_classes > MAX_CLASSES:
        raise ValueError(f"{shape.num_classes} classes")
    if shape.height * shape.width > _MAX_PIXELS:
        raise ValueError(f"images of {shape.height} by {shape.width} pixels")


def open_shard(data: bytes, shape: DataShape, num_rows: int) -> pq.ParquetFile:
    """Its rows are not read yet. Raises ValueError where it is not of this form."""
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        columns = {field.name: field.type for field in file.schema_arrow}
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"no Parquet file: {_first_line(error)}") from error
    wanted = {"image": pa.list_(pa.uint8(), shape.height * shape.width), "label": pa.uint8()}
    if columns != wanted:
        raise ValueError(f"columns {_told(columns)}, not {_told(wanted)}")
    if file.metadata.num_rows != num_rows:
        raise ValueError(f"{file.metadata.num_rows} rows, not {num_rows}")
    return file


def read_shard(file: pq.ParquetFile, shape: DataShape) -> pa.Table:
    """All rows. Raises ValueError where one has no image, or no label below the classes."""
    try:
        table = file.read()
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(_first_line(error)) from error
    missing = sum(column.null_count for column in table.columns)
    if missing or table.num_rows != file.metadata.num_rows:
        raise ValueError(f"{table.num_rows} rows with {missing} missing values")
    highest = max(table.column("label").unique().to_pylist(), default=0)
    if highest >= shape.num_classes:
        raise ValueError(f"a label {highest} of {shape.num_classes} classes")
    return table


def _told(columns: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name} ({kind})" for name, kind in columns.items()) or "none"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
