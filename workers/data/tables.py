"""The rows of a shard: from its table to tensors.

N rows, T time steps of each, M time steps of all rows together, F features, H height, W width.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.data.kinds import (
    ClassTarget,
    DataShape,
    ImageInput,
    NumberTarget,
    TokenInput,
    VectorInput,
)
from workers.data.rows import Rows
from workers.data.shard_schema import shard_schema
from workers.errors import DataError

Numbers = NDArray[Any]


def rows_from_table(table: pa.Table, shape: DataShape) -> Rows:
    """Convert a table with the columns of `shard_schema`, and maybe others.

    A missing number of a vector stays NaN. Raises DataError if the table has another form.
    """
    for field in shard_schema(shape):
        _check_column(table, field, shape)
    input_field, target_field = shard_schema(shape)
    targets_N = _targets(table.column(target_field.name).to_numpy(), shape.target)
    column = _one_array(table.column(input_field.name))
    # flatten() honours the slice that a column may be; .values would not.
    flat = torch.from_numpy(np.array(column.flatten().to_numpy(zero_copy_only=False)))
    if isinstance(shape.input, ImageInput):
        images_NHW = flat.view(len(column), shape.input.height, shape.input.width)
        return Rows(images_NHW, targets_N)
    lengths_N = _lengths(column, shape.input, shape)
    width = shape.input.num_features if isinstance(shape.input, VectorInput) else 1
    inputs = flat if isinstance(shape.input, TokenInput) else flat.view(-1, width)
    if shape.input.min_length < shape.input.max_length:
        return Rows(inputs, targets_N, lengths_N, is_padded=False)
    return Rows(inputs.view(len(column), shape.input.max_length, *inputs.shape[1:]), targets_N)


def _targets(column: Numbers, target: ClassTarget | NumberTarget) -> Tensor:
    if isinstance(target, NumberTarget):
        # In float64: of large numbers near each other, float32 would keep little.
        column = (column - target.mean) / target.std
        return torch.from_numpy(np.array(column, dtype=np.float32))
    return torch.from_numpy(np.array(column, dtype=np.int64))


def _lengths(column: pa.Array, kind: VectorInput | TokenInput, shape: DataShape) -> Tensor:
    """Return the time steps of each row, int64. Raises DataError if one has too many or too few."""
    sizes_N = np.array(column.value_lengths().to_numpy(), dtype=np.int64)
    width = kind.num_features if isinstance(kind, VectorInput) else 1
    lengths_N = sizes_N // width
    are_whole = lengths_N * width == sizes_N
    fit = (lengths_N >= kind.min_length) & (lengths_N <= kind.max_length)
    if not (are_whole & fit).all():
        raise _wrong_form(
            f"the rows of {shape.name} do not have {kind.min_length} to {kind.max_length} "
            f"time steps of {width} numbers each"
        )
    return torch.from_numpy(lengths_N)


def _check_column(table: pa.Table, field: pa.Field, shape: DataShape) -> None:
    index = table.schema.get_field_index(field.name)
    found = table.schema.field(index).type if index >= 0 else "missing"
    if found != field.type:
        raise _wrong_form(f"column '{field.name}' of {shape.name} is {found}, not {field.type}")
    if missing := table.column(index).null_count:
        raise _wrong_form(f"column '{field.name}' of {shape.name} lacks {missing} values")


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _wrong_form(cause: str) -> DataError:
    return DataError(cause, "cut the data set again: rnnjob data prepare --force")
