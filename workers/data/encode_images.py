"""Images in a column of a table: lists of pixels, row after row. It imports no torch."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from workers.data.columns import form
from workers.data.kinds import IMAGE_COLUMN, ImageInput
from workers.data.numbers import Where
from workers.data.shard_schema import input_field
from workers.errors import DataError


def encode_images(
    column: pa.Array, kind: ImageInput, where: Where, invert: bool = False
) -> pa.Array:
    """Return the input column of `shard_schema`.

    Args:
        column: lists of height * width integers from 0 to 255.
        invert: whether bright becomes dark.

    Raises DataError.
    """
    wanted = kind.height * kind.width
    cure = f"give each row a list of {kind.height} times {kind.width} integers from 0 to 255"
    if form(column.type) != "integers":
        raise DataError(f"column '{IMAGE_COLUMN}' holds {column.type}, not lists of integers", cure)
    lengths_N = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    if len(bad := np.flatnonzero(lengths_N != wanted)):
        row = int(bad[0])
        raise DataError(
            f"column '{IMAGE_COLUMN}' has {lengths_N[row]} pixels in {where(row)}, the model reads "
            f"{wanted}",
            cure,
        )
    try:
        pixels = pc.cast(column.flatten(), pa.uint8())
        if pixels.null_count:
            raise pa.ArrowInvalid("a pixel is null")
    except pa.ArrowInvalid as error:
        place = f"column '{IMAGE_COLUMN}' of {where(0)} and below"
        raise DataError(f"{place}: {error}", cure) from error
    if invert:
        pixels = pc.subtract(pa.scalar(255, pa.uint8()), pixels)
    return pa.FixedSizeListArray.from_arrays(pixels, type=input_field(kind).type)
