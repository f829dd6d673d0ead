"""Rows of a user's table as the columns of a shard, given the kinds of inputs and target.

The kinds are decided once, from the training rows. This does the rest, for any rows: those that are
cut into shards, and later those to predict. It imports no torch.

N rows, M time steps of all of them, F features.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workers.data.columns import family, form
from workers.data.kinds import (
    NUM_SPECIAL_TOKENS,
    UNKNOWN,
    ClassTarget,
    NumberTarget,
    TokenInput,
    VectorInput,
)
from workers.data.kinds.targets import MAX_TARGET
from workers.data.numbers import Where, decoded, first_line
from workers.data.sequences import (
    Sequences,
    as_lists,
    tokens,
    truncated,
    vectors,
)
from workers.errors import DataError

_TYPES = {
    "text": pa.string(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "float": pa.float64(),
}


def sequences_of(
    columns: Sequence[pa.Array], kind: VectorInput | TokenInput, where: Where
) -> Sequences:
    """Return the sequences of some rows, cut to the kind's limit. Raises DataError.

    Args:
        columns: the columns that the kind names, in its order.
        where: says which row it is, for errors.
    """
    if isinstance(kind, TokenInput):
        _check_form(columns[0], kind)
        found = tokens(columns[0], kind.column, kind.missing, where)
        return truncated(found, kind.limit, kind.truncate, kind.column, where)
    found = vectors(columns, kind.columns, kind.missing, where)
    name = kind.columns[0]
    width = found.steps.shape[1]
    if len(found.lengths_N) and width != kind.num_features:
        raise DataError(
            f"column '{name}' has time steps of width {width} in {where(0)}, and the model reads "
            f"those of width {kind.num_features}",
            "name data with the features that the model was trained on",
        )
    return truncated(found, kind.limit, kind.truncate, name, where)


def _check_form(column: pa.Array, kind: TokenInput) -> None:
    wanted = "texts" if kind.vocabulary and isinstance(kind.vocabulary[0], str) else "integers"
    if (found := form(column.type)) != wanted:
        raise DataError(
            f"column '{kind.column}' holds {found or column.type}, not {wanted}",
            f"give the column lists of {wanted}",
        )


def encode_inputs(
    columns: Sequence[pa.Array], kind: VectorInput | TokenInput, where: Where
) -> pa.Array:
    """Return the input column of `shard_schema` for some rows. Raises DataError."""
    return encode_lists(as_lists(sequences_of(columns, kind, where)), kind)


def encode_lists(lists: pa.Array, kind: VectorInput | TokenInput) -> pa.Array:
    """Return the input column of `shard_schema` for sequences as lists: see `as_lists`."""
    if isinstance(kind, VectorInput):
        return lists
    ends = np.concatenate([[0], np.asarray(lists.value_lengths()).cumsum()])
    numbers_M = _token_numbers(lists.flatten(), kind)
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(numbers_M))


def _token_numbers(steps: pa.Array, kind: TokenInput) -> NDArray[np.int32]:
    """Return the number of each token: UNKNOWN for one that the vocabulary lacks, or for null."""
    vocabulary = pa.array(kind.vocabulary, steps.type)
    place_M = pc.fill_null(pc.index_in(steps, value_set=vocabulary), -1).to_numpy()
    return np.where(place_M < 0, UNKNOWN, place_M + NUM_SPECIAL_TOKENS).astype(np.int32)


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
