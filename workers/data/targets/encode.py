"""The targets of a user's table as the column of a shard. It imports no torch."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workers.data.columns import family
from workers.data.kinds import ClassTarget, NumberTarget
from workers.data.kinds.targets import MAX_TARGET
from workers.data.numbers import Where, decoded, first_line
from workers.errors import DataError

_TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "float": pa.float64(),
}


def target_values(column: pa.Array, name: str, where: Where) -> pa.Array:
    """Return a column as texts, int64, booleans or float64. Raises DataError for a null."""
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(
            f"the target '{name}' is null in {where(row)}", "give the row a target, or leave it out"
        )
    column = decoded(column)
    wanted = _TYPES.get(family(column.type))
    try:
        if wanted is None:
            raise pa.ArrowInvalid("no text, integer, boolean or number")
        return pc.cast(column, wanted, safe=wanted != pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the target '{name}' holds {column.type}: {first_line(error)}",
            "make it texts, integers of 64 bits, booleans or numbers",
        ) from error


def class_values(values: pa.Array, name: str, where: Where) -> pa.Array:
    """Return the classes that targets name, as texts, int64 or booleans.

    Raises DataError for a number that is not an integer.
    """
    if not pa.types.is_floating(values.type):
        return values
    array = values.to_numpy()
    is_whole = np.isfinite(array) & (array == np.floor(array)) & (np.abs(array) < 2.0**63)
    if not is_whole.all():
        row = int(np.flatnonzero(~is_whole)[0])
        raise DataError(
            f"the target '{name}' is {array[row]:g} in {where(row)}, which is no class",
            "make classes integers or texts, or train a regression: --task regression",
        )
    return pa.array(array.astype(np.int64))


def number_values(values: pa.Array, name: str, where: Where) -> NDArray[np.float64]:
    """Return the numbers that targets are. Raises DataError for NaN, infinity, or texts."""
    if pa.types.is_string(values.type):
        raise DataError(
            f"the target '{name}' holds texts, which are no numbers",
            "name a column with numbers: --target, or --task classification",
        )
    wide = pc.cast(values, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    is_right = np.abs(wide) <= MAX_TARGET  # NaN is not
    if not is_right.all():
        row = int(np.flatnonzero(~is_right)[0])
        raise DataError(
            f"the target '{name}' is {str(wide[row]).replace('nan', 'NaN')} in {where(row)}",
            f"give the row a finite number within {MAX_TARGET:g}, or leave it out",
        )
    return np.asarray(wide, np.float64)


def encode_targets(column: pa.Array, kind: ClassTarget | NumberTarget, where: Where) -> pa.Array:
    """Return the target column of `shard_schema` for rows of a table, no images. Raises DataError.

    Args:
        column: the column that the kind names.
        where: says which row it is, for errors.
    """
    values = target_values(column, kind.column, where)
    if isinstance(kind, NumberTarget):
        return pa.array(number_values(values, kind.column, where))
    classes = class_values(values, kind.column, where)
    found = pc.index_in(classes, value_set=_classes(kind, classes.type))
    if found.null_count:
        row = int(np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))[0])
        raise unknown_class(kind.column, classes[row].as_py(), where(row))
    return found


def unknown_class(name: str, value: object, where: str) -> DataError:
    """Return the error for a class that no training row has."""
    return DataError(
        f"the target '{name}' is {value!r:.80} in {where}, a class that no training row has",
        "add training rows of that class, or leave the row out",
    )


def _classes(kind: ClassTarget, wanted: pa.DataType) -> pa.Array:
    """Return the values that stand for the classes. Those of another type match none."""
    if kind.values == "text" and pa.types.is_string(wanted):
        return pa.array(kind.names, wanted)
    if kind.values == "integer" and pa.types.is_integer(wanted):
        return pa.array([int(name) for name in kind.names], wanted)
    if kind.values == "boolean" and pa.types.is_boolean(wanted):
        return pa.array([name == "true" for name in kind.names], wanted)
    return pa.array([], wanted)
