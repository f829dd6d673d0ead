"""Sequences on their way from a file of any format to Parquet.

N sequences, T time steps, F features.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from workers.errors import DataError

INPUTS, TARGET, ID, SPLIT = "inputs", "target", "id", "split"
"""The names of columns that a written file has."""


@dataclass(frozen=True)
class Sequences:
    """The rows of a file, read while `batches` is consumed, and what is known of them before."""

    batches: Iterator[pa.RecordBatch]
    """Batches of one schema, with a column `inputs`. It raises DataError."""
    features: tuple[str, ...] = ()
    """The names of the features of a time step, if they have any."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of how the file was read. It may grow while batches are read."""


def lists_of(values: NDArray[np.generic] | pa.Array, lengths: NDArray[np.int64]) -> pa.Array:
    """Return sequences whose time steps, one sequence after the other, are `values`.

    `values`: numbers of the shape (steps), or vectors of the shape (steps, F), or an Arrow array.
    """
    if isinstance(values, np.ndarray) and values.ndim == 2:
        numbers = pa.array(np.ascontiguousarray(values).reshape(-1))
        steps = pa.FixedSizeListArray.from_arrays(numbers, values.shape[1])
    else:
        steps = pa.array(values)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, steps)


def check_is_file(path: Path) -> None:
    """Raise DataError if there is no file. A named pipe or a terminal cannot be read twice."""
    if not os.path.isfile(path):  # noqa: PTH113  # Path.is_file raises for impossible names
        what = "is no file" if os.path.exists(path) else "does not exist"  # noqa: PTH110
        raise DataError(f"{path} {what}", "name a file of this machine")


def with_split(sequences: Sequences, split: str) -> Sequences:
    """Return the same sequences with a column that says that all of them are of one split."""

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in sequences.batches:
            yield batch.append_column(SPLIT, pa.array([split] * batch.num_rows, pa.string()))

    return Sequences(batches(), sequences.features, sequences.notes)
