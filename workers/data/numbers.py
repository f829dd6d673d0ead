"""Numbers of any Arrow type as float32, and what goes wrong with them. It imports no torch."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workers.data.base import MAX_FLOAT32
from workers.errors import DataError

Missing = Literal["error", "zero"]
Where = Callable[[int], str]
"""Says which row it is, for an error: `row 12 (from 0) of a.parquet`."""
Floats = NDArray[np.float32]


def numbers(values: pa.Array, name: str, missing: Missing, where: Where) -> Floats:
    """Return numbers as float32, a missing one as NaN. Raises DataError. `where` is told the place
    of a value."""
    values = decoded(values)
    is_single = values.type == pa.float32()
    wide = values if is_single else pc.cast(values, pa.float64(), safe=False)
    array = np.array(wide.to_numpy(zero_copy_only=False))
    is_finite = np.isfinite(array)
    if not is_finite.all():
        if missing == "error":
            place = int(np.flatnonzero(~is_finite)[0])
            what = "null" if not values[place].is_valid else str(float(array[place]))
            raise missing_value(name, what.replace("nan", "NaN"), where(place))
        array[~is_finite] = np.nan
    if (np.abs(array) > MAX_FLOAT32).any():
        place = int(np.flatnonzero(np.abs(array) > MAX_FLOAT32)[0])
        raise DataError(
            f"column '{name}' has the number {array[place]:g} in {where(place)}, and "
            f"{MAX_FLOAT32:g} is the most",
            "scale the column: training computes in float32",
        )
    return array.astype(np.float32)


def missing_value(name: str, what: str, where: str) -> DataError:
    """Return the error for a value that is not there."""
    return DataError(
        f"column '{name}' has a value {what} in {where}",
        "repair the row, or let it be 0 after normalization: --set dataset.missing=zero",
    )


def decoded(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def first_of(flags: pa.Array) -> int:
    return int(np.flatnonzero(flags.to_numpy(zero_copy_only=False))[0])


def first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
