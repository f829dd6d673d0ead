"""Read CSV files with one row for each sequence, whose time steps are columns.

N sequences, T time steps, F features.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.datasets.importing.csv_columns import (
    Columns,
    CsvOptions,
    choose_columns,
    shortened,
    types_of,
)
from orchestrator.datasets.importing.csv_file import Block, CsvFiles
from orchestrator.datasets.importing.sequences import ID, INPUTS, Sequences, lists_of
from workers.errors import DataError


def read_wide(paths: list[Path], options: CsvOptions) -> Sequences:
    """Return the sequences of CSV files with one row for each.

    Each prefix names the columns of one feature. Without prefixes, there is one feature, and its
    time steps are all inputs.

    Raises DataError, here and when the batches are read.
    """
    files = CsvFiles(paths, options.delimiter)
    columns = choose_columns(files, options, with_time=False)
    notes: list[str] = []
    groups = _features(columns.inputs, options, notes)
    batches = _batches(files, columns, groups, options)
    features = tuple(prefix.rstrip("_-.") or prefix for prefix in options.prefixes)
    return Sequences(batches, features, notes)


def _features(
    inputs: tuple[str, ...], options: CsvOptions, notes: list[str]
) -> list[tuple[str, ...]]:
    """Return the columns of each feature, in the order of time."""
    if not options.prefixes:
        notes.append(f"the {len(inputs)} time steps are the columns {shortened(inputs)}")
        return [inputs]
    if options.tokens and len(options.prefixes) > 1:
        raise DataError(
            f"there are {len(options.prefixes)} prefixes, but a time step is one token",
            "give one: --prefix",
        )
    groups = [_in_order(inputs, prefix) for prefix in options.prefixes]
    for prefix, group in zip(options.prefixes, groups, strict=True):
        if len(group) != len(groups[0]) or not group:
            raise DataError(
                f"{len(group)} columns begin with '{prefix}', and {len(groups[0])} with "
                f"'{options.prefixes[0]}'",
                "give a prefix for each feature, of as many columns as there are time steps",
            )
    notes.append(f"the {len(groups[0])} time steps are {groups[0][0]} to {groups[0][-1]}")
    return groups


def _in_order(names: tuple[str, ...], prefix: str) -> tuple[str, ...]:
    """Return the columns with a prefix, in the order of the numbers behind it if all have one.

    Programs that sort names as text put t10 before t2.
    """
    found = tuple(name for name in names if name.startswith(prefix))
    numbers = [name.removeprefix(prefix) for name in found]
    if all(number.isdecimal() and number.isascii() for number in numbers):
        return tuple(sorted(found, key=lambda name: int(name.removeprefix(prefix))))
    return found


def _batches(
    files: CsvFiles, columns: Columns, groups: list[tuple[str, ...]], options: CsvOptions
) -> Iterator[pa.RecordBatch]:
    types = types_of(files, columns, options)
    for block in files.read(types):
        if block.table.num_rows:
            yield _sequences(block, columns, groups, options)


def _sequences(
    block: Block, columns: Columns, groups: list[tuple[str, ...]], options: CsvOptions
) -> pa.RecordBatch:
    table = block.table
    values_NTF = np.stack([_matrix(table, group, options.tokens) for group in groups], axis=2)
    is_missing = values_NTF == None if options.tokens else np.isnan(values_NTF)  # noqa: E711
    lengths_N = _lengths(is_missing.all(axis=2), block, options.ragged)
    is_step_NT = np.arange(values_NTF.shape[1]) < lengths_N[:, None]
    steps = values_NTF[is_step_NT]
    steps = steps[:, 0] if steps.shape[1] == 1 else steps
    values = pa.array(steps, pa.string()) if options.tokens else steps
    found = {ID: table.column(columns.id)} if columns.id else {}
    found[INPUTS] = lists_of(values, lengths_N)
    found |= {new: table.column(name) for new, name in columns.kept.items()}
    return pa.RecordBatch.from_pydict(found)


def _matrix(table: pa.RecordBatch, names: tuple[str, ...], is_text: bool) -> NDArray[Any]:
    """Return some columns as (N, T) float64, where null is NaN; text as objects."""
    columns = [table.column(name).to_numpy(zero_copy_only=False) for name in names]
    return np.stack(columns, axis=1).astype(object if is_text else np.float64)


def _lengths(is_missing_NT: NDArray[np.bool_], block: Block, is_ragged: bool) -> NDArray[np.int64]:
    """Return the time steps of each row: all, or those up to the last cell that is not empty."""
    num_rows, num_steps = is_missing_NT.shape
    if not is_ragged:
        return np.full(num_rows, num_steps, np.int64)
    num_empty_N = np.argmin(is_missing_NT[:, ::-1], axis=1)
    is_empty_N = is_missing_NT.all(axis=1)
    if is_empty_N.any():
        raise DataError(
            f"{block.path}, row {block.first_row + int(np.argmax(is_empty_N))}, has no time steps",
            "remove the row: each sequence needs at least one time step",
        )
    lengths: NDArray[np.int64] = num_steps - num_empty_N
    return lengths
