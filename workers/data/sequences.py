"""Sequences out of the columns of a table: numbers or tokens, one sequence after the other.

It imports no torch, and knows nothing of training. N rows, M time steps of all of them, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from workers.data.columns import family, is_list
from workers.data.numbers import (
    Floats,
    Missing,
    Where,
    decoded,
    first_line,
    first_of,
    missing_value,
    numbers,
)
from workers.errors import DataError

Truncate = Literal["error", "head", "tail"]
Lengths = NDArray[np.int64]
_MOST_VALUES = 2**31 - 1
"""The most numbers or tokens of one row, and of the rows that are read together."""


@dataclass(frozen=True)
class Sequences:
    """The sequences of some rows."""

    steps: Floats | pa.Array
    """Vectors (M, F), in which NaN is a missing number; or tokens (M), texts or int64."""
    lengths_N: Lengths


def as_lists(sequences: Sequences) -> pa.Array:
    """Return sequences as lists: all numbers of a row, time step after time step, or its tokens."""
    steps, width = sequences.steps, 1
    if isinstance(steps, np.ndarray):
        width = steps.shape[1]
        steps = pa.array(np.ascontiguousarray(steps).reshape(-1))
    ends = np.concatenate([[0], sequences.lengths_N.cumsum() * width])
    return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), steps)


@dataclass(frozen=True)
class _Column:
    """The lists of one column, unfolded once."""

    name: str
    items: pa.Array
    lengths_N: Lengths
    where: Where

    def row_of(self, item: int) -> str:
        """Say in which row an item is."""
        return self.where(int(np.searchsorted(self.lengths_N.cumsum(), item, side="right")))


def vectors(
    columns: Sequence[pa.Array], names: Sequence[str], missing: Missing, where: Where
) -> Sequences:
    """Return sequences of vectors: those of one column, or with a feature from each column.

    Raises DataError if a row has no sequence, or numbers are missing and must not be.
    """
    parts = [
        _vectors(column, name, missing, where) for column, name in zip(columns, names, strict=True)
    ]
    first = parts[0]
    if len(parts) == 1:
        return first
    for name, part in zip(names, parts, strict=True):
        if part.steps.shape[1:] != (1,):
            raise DataError(
                f"column '{name}' holds vectors, and not one number for each time step, as one "
                f"of {len(parts)} features must",
                f"take it alone: --inputs {name}",
            )
        if len(bad := np.flatnonzero(part.lengths_N != first.lengths_N)):
            row = int(bad[0])
            raise DataError(
                f"column '{name}' has the length {part.lengths_N[row]} and '{names[0]}' the length "
                f"{first.lengths_N[row]} in {where(row)}",
                "make all features of a row equally long, or leave one out of dataset.inputs",
            )
    return Sequences(np.concatenate([part.steps for part in parts], axis=1), first.lengths_N)


def tokens(column: pa.Array, name: str, missing: Missing, where: Where) -> Sequences:
    """Return sequences of tokens, texts or int64. A missing one stays null. Raises DataError."""
    unfolded = _unfold(column, name, where)
    items = unfolded.items
    if items.null_count and missing == "error":
        item = first_of(items.is_null())
        raise missing_value(name, "null", unfolded.row_of(item))
    kind = pa.int64() if family(items.type) == "integer" else pa.string()
    try:
        return Sequences(pc.cast(items, kind), unfolded.lengths_N)
    except pa.ArrowInvalid as error:
        raise DataError(
            f"column '{name}' holds a token that does not fit {kind}: {first_line(error)}",
            "write tokens as texts, or as integers of 64 bits",
        ) from error


def truncated(
    sequences: Sequences, limit: int | None, truncate: Truncate, name: str, where: Where
) -> Sequences:
    """Return the sequences with at most `limit` time steps. Raises DataError if one is longer and
    must not be cut."""
    lengths_N = sequences.lengths_N
    if limit is None or not len(long := np.flatnonzero(lengths_N > limit)):
        return sequences
    if truncate == "error":
        row = int(long[0])
        raise DataError(
            f"column '{name}' has {lengths_N[row]} time steps in {where(row)}, above "
            f"max_length {limit}",
            "raise dataset.max_length, or cut sequences: --set dataset.truncate=head (or tail)",
        )
    starts_N = lengths_N.cumsum() - lengths_N
    place_M = np.arange(lengths_N.sum()) - np.repeat(starts_N, lengths_N)
    if truncate == "tail":
        place_M += np.repeat(limit - lengths_N, lengths_N)
        keep_M = place_M >= 0
        keep_M |= np.repeat(lengths_N <= limit, lengths_N)
    else:
        keep_M = place_M < limit
    steps = sequences.steps
    kept = steps[keep_M] if isinstance(steps, np.ndarray) else steps.filter(pa.array(keep_M))
    return Sequences(kept, np.minimum(lengths_N, limit))


def _vectors(column: pa.Array, name: str, missing: Missing, where: Where) -> Sequences:
    unfolded = _unfold(column, name, where)
    items, width = unfolded.items, 1
    if isinstance(column.type, pa.FixedShapeTensorType) and len(column.type.shape) == 2:
        return _tensors(unfolded, column.type, missing)
    if is_list(items.type):
        if items.null_count:
            row = unfolded.row_of(first_of(items.is_null()))
            raise DataError(
                f"column '{name}' has a time step that is null in {row}",
                "leave the time step out, or write its numbers as nulls",
            )
        widths = np.asarray(pc.list_value_length(_storage(items)), dtype=np.int64)
        width = int(widths[0]) if len(widths) else 1
        if len(bad := np.flatnonzero(widths != width)):
            item = int(bad[0])
            raise ragged(name, int(widths[item]), width, unfolded.row_of(item))
        items = _storage(items).flatten()
    if not width:
        raise DataError(
            f"column '{name}' has a time step without numbers in {unfolded.row_of(0)}",
            "give each time step the same number of features, at least one",
        )
    flat = numbers(items, name, missing, lambda place: unfolded.row_of(place // width))
    return Sequences(flat.reshape(-1, width), unfolded.lengths_N)


def ragged(name: str, width: int, usual: int, where: str) -> DataError:
    """Return the error for a time step with another number of features than those before it."""
    return DataError(
        f"column '{name}' has a time step of width {width} in {where}, and of width {usual} "
        "before it",
        "give each time step the same number of features",
    )


def _tensors(unfolded: _Column, kind: pa.FixedShapeTensorType, missing: Missing) -> Sequences:
    num_rows = len(unfolded.lengths_N)
    per_row = kind.shape[0] * kind.shape[1]
    flat = numbers(
        unfolded.items, unfolded.name, missing, lambda place: unfolded.where(place // per_row)
    )
    stacked = flat.reshape(num_rows, *kind.shape)
    if kind.permutation == [1, 0]:  # the order in which the axes are meant
        stacked = stacked.transpose(0, 2, 1)
    length, width = stacked.shape[1:]
    return Sequences(stacked.reshape(-1, width), np.full(num_rows, length, np.int64))


def _unfold(column: pa.Array, name: str, where: Where) -> _Column:
    """Return the lists of a column. Raises DataError if one is null or empty."""
    column = _storage(column)
    if column.null_count:
        raise DataError(
            f"column '{name}' is null in {where(first_of(column.is_null()))}",
            "give each row a sequence, or leave the row out",
        )
    lengths_N = np.array(pc.list_value_length(column), dtype=np.int64)
    if not lengths_N.all():
        raise DataError(
            f"column '{name}' has an empty sequence in {where(int(np.argmin(lengths_N)))}",
            "leave the row out: a sequence has at least one time step",
        )
    items = column.flatten()
    if len(items) > _MOST_VALUES:
        raise DataError(
            f"column '{name}' has {len(items):,} values in {where(0)}",
            f"cut the sequence: a row may have {_MOST_VALUES:,}",
        )
    return _Column(name, decoded(items), lengths_N, where)


def _storage(column: pa.Array) -> pa.Array:
    return column.storage if isinstance(column, pa.ExtensionArray) else column
