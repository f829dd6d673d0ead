"""Read sequences from the arrays of an NPZ file.

The inputs are (N, T, F) or (N, T), or, with an array of lengths, all time steps of all sequences
one after the other: (M, F) or (M). N sequences, T time steps, M time steps of all, F features.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.datasets.importing.npy_array import NpyArray, open_npz
from orchestrator.datasets.importing.sequences import (
    ID,
    INPUTS,
    SPLIT,
    TARGET,
    Sequences,
    lists_of,
)
from workers.errors import DataError

_USUAL = {
    "inputs": ("inputs", "x", "X", "values"),
    "target": ("target", "y", "Y", "labels"),
    "lengths": ("lengths",),
    "id": (ID,),
    "split": (SPLIT,),
}
"""The names with which an array is found that is not named by the user."""


@dataclass(frozen=True)
class NpzOptions:
    """The names of arrays. None: the usual names."""

    inputs: str | None = None
    target: str | None = None
    lengths: str | None = None
    id: str | None = None


def read_npz(path: Path, options: NpzOptions) -> Sequences:
    """Return the sequences of an NPZ file. Raises DataError, here and when they are read."""
    arrays = open_npz(path)
    inputs = _array(arrays, path, "inputs", options.inputs)
    if inputs is None:
        raise DataError(
            f"{path} has no array named {' or '.join(_USUAL['inputs'])}",
            f"name the one with the sequences: --inputs. Its arrays are {_listed(arrays)}",
        )
    lengths = _array(arrays, path, "lengths", options.lengths)
    columns = {
        TARGET: _array(arrays, path, "target", options.target),
        ID: _array(arrays, path, "id", options.id),
        SPLIT: _array(arrays, path, "split", None),
    }
    lengths_N = _lengths(inputs, lengths)
    read = {
        name: _column(array, len(lengths_N), inputs.name)
        for name, array in columns.items()
        if array
    }
    if ID in read:
        read[ID] = read[ID].cast(pa.string())  # as from every other format
    return Sequences(_batches(inputs, lengths_N, lengths is not None, read))


def _array(
    arrays: dict[str, NpyArray], path: Path, purpose: str, named: str | None
) -> NpyArray | None:
    if named is None:
        return next((arrays[name] for name in _USUAL[purpose] if name in arrays), None)
    if named not in arrays:
        near = difflib.get_close_matches(named, arrays, 1)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise DataError(
            f"--{purpose}: {path} has no array '{named}'",
            f"{hint}Its arrays are {_listed(arrays)}",
        )
    return arrays[named]


def _listed(arrays: dict[str, NpyArray]) -> str:
    return ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:12])


def _lengths(inputs: NpyArray, lengths: NpyArray | None) -> NDArray[np.int64]:
    """Return the number of time steps of each sequence. Raises DataError."""
    what = f"the array '{inputs.name}' of {inputs.path} has the shape {inputs.shape}"
    axes = (1, 2, 3) if lengths else (2, 3)
    if len(inputs.shape) not in axes or 0 in inputs.shape[1:]:
        cure = "give it the axes (sequences, steps) or (sequences, steps, features)"
        raise DataError(
            what, f"{cure}; or (all steps, features), with an array of lengths: --lengths"
        )
    if lengths is None:
        return np.full(inputs.shape[0], inputs.shape[1], np.int64)
    if lengths.dtype.kind not in "iu" or len(lengths.shape) != 1:
        raise DataError(
            f"the array '{lengths.name}' of {lengths.path} has the type {lengths.dtype} and the "
            f"shape {lengths.shape}",
            "give one whole number for each sequence",
        )
    lengths_N = lengths.read().astype(np.int64)
    if len(lengths_N) and lengths_N.min() < 1:
        raise DataError(
            f"the array '{lengths.name}' of {lengths.path} has a length of {lengths_N.min()}",
            "remove the sequence: each needs at least one time step",
        )
    return lengths_N


def _is_padded(inputs: NpyArray, lengths_N: NDArray[np.int64]) -> bool:
    """Return whether lengths are those of padded sequences, and not of joined ones.

    (N, T) with N lengths of at most T is padded; (M, F) has as many rows as the lengths' sum.
    """
    total = sum(lengths_N.tolist())
    if len(inputs.shape) < 3 and inputs.shape[0] == total:
        return False
    is_padded = len(inputs.shape) > 1 and inputs.shape[0] == len(lengths_N)
    if is_padded and lengths_N.max(initial=0) <= inputs.shape[1]:
        return True
    raise DataError(
        f"the lengths of {len(lengths_N):,} sequences add up to {total:,} time steps, but the "
        f"array '{inputs.name}' of {inputs.path} has the shape {inputs.shape}",
        "give the length of each sequence; joined, their time steps are the first axis",
    )


def _column(array: NpyArray, num_rows: int, inputs: str) -> pa.Array:
    """Return the array of a column, read whole: it is small beside the inputs. Raises DataError."""
    if array.shape not in ((num_rows,), (num_rows, 1)):
        raise DataError(
            f"the array '{array.name}' of {array.path} has the shape {array.shape}, but "
            f"'{inputs}' {num_rows:,} sequences",
            "give one value for each sequence; one-hot classes become numbers with argmax(axis=1)",
        )
    values = _storable(array.read().reshape(-1))
    return pa.array(values)


def _storable(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the values in a type that Parquet and its readers have: it has no float16."""
    return values.astype(np.float32) if values.dtype == np.float16 else values


def _batches(
    inputs: NpyArray, lengths_N: NDArray[np.int64], has_lengths: bool, columns: dict[str, pa.Array]
) -> Iterator[pa.RecordBatch]:
    if has_lengths and not _is_padded(inputs, lengths_N):
        parts = _joined_parts(inputs, lengths_N)
    else:
        parts = _equal_parts(inputs, lengths_N)
    start = 0
    for values, lengths in parts:
        found = {name: column.slice(start, len(lengths)) for name, column in columns.items()}
        found[INPUTS] = lists_of(_steps(values), lengths)
        start += len(lengths)
        yield pa.RecordBatch.from_pydict(found)


_Part = tuple[NDArray[np.generic], NDArray[np.int64]]
"""The time steps of some sequences, one after the other, and the lengths of the sequences."""


def _equal_parts(inputs: NpyArray, lengths_N: NDArray[np.int64]) -> Iterator[_Part]:
    """Yield the parts of (N, T) or (N, T, F), without what lies behind the end of a sequence."""
    start = 0
    for part in inputs.rows():
        lengths = lengths_N[start : start + len(part)]
        start += len(part)
        yield part[np.arange(part.shape[1]) < lengths[:, None]], lengths


def _joined_parts(inputs: NpyArray, lengths_N: NDArray[np.int64]) -> Iterator[_Part]:
    """Yield the parts of (M) or (M, F), cut where a sequence ends."""
    ends_N = np.cumsum(lengths_N)
    waiting, done, first = [np.empty((0, *inputs.shape[1:]), inputs.dtype)], 0, 0
    for part in inputs.rows():
        waiting.append(part)
        available = done + sum(map(len, waiting))
        last = int(np.searchsorted(ends_N, available, side="right"))
        if last > first:
            steps = np.concatenate(waiting)
            used = int(ends_N[last - 1]) - done
            yield steps[:used], lengths_N[first:last]
            waiting, done, first = [steps[used:]], done + used, last


def _steps(values: NDArray[np.generic]) -> NDArray[np.generic] | pa.Array:
    if values.dtype.kind == "U" and values.ndim == 1:
        return pa.array(values.tolist(), pa.string())
    return _storable(values.astype(np.uint8) if values.dtype.kind == "b" else values)
