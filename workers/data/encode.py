"""The inputs of a user's table as the column of a shard, given their kind.

The kind is decided once, from the training rows. This does the rest, for any rows: those that are
cut into shards, and later those to predict. It imports no torch.

N rows, M time steps of all of them, F features.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workers.data.columns import form
from workers.data.kinds import (
    NUM_SPECIAL_TOKENS,
    UNKNOWN,
    TokenInput,
    VectorInput,
)
from workers.data.numbers import Where
from workers.data.sequences import (
    Sequences,
    as_lists,
    tokens,
    truncated,
    vectors,
)
from workers.errors import DataError


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
