"""Read CSV files with one row for each time step.

The rows of a sequence have the same id. They may be anywhere in the files: first, all rows are
dealt out to temporary files by their id; then each of these is sorted in memory.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from orchestrator.datasets.importing.buckets import KEY, in_buckets
from orchestrator.datasets.importing.csv_columns import (
    Columns,
    CsvOptions,
    choose_columns,
    types_of,
)
from orchestrator.datasets.importing.csv_file import FIRST_ROW, Block, CsvFiles
from orchestrator.datasets.importing.long_steps import FILE_SHIFT, PLACE, TIME, Steps
from orchestrator.datasets.importing.sequences import ID, INPUTS, Sequences, lists_of
from workers.errors import DataError

_BUCKET_BYTES = 2**25
"""The bytes of text that are sorted in memory at once."""
_MAX_BUCKETS = 512
"""Each is an open file. A process may often have 1,024 of them."""
_UNZIPPED = 8
"""How many times larger than its file the text in a compressed file may be expected to be."""


def read_long(paths: list[Path], options: CsvOptions, in_input_order: bool = False) -> Sequences:
    """Return the sequences of CSV files with one row for each time step.

    Without a column for the id, each file is one sequence.

    `in_input_order`: return the sequences in the order in which they begin, which takes memory for
    all of them. They are to be predicted: even one file is then a sequence.

    Raises DataError, here and when the batches are read.
    """
    files = CsvFiles(paths, options.delimiter)
    columns = choose_columns(files, options, with_time=True)
    if columns.id is None and len(paths) == 1 and not in_input_order:
        raise DataError(
            f"{paths[0]} has no column '{ID}' to say which rows make up a sequence",
            "name the column: --id, or give several files, each of which is one sequence",
        )
    if options.tokens and len(columns.inputs) != 1:
        raise DataError(
            f"there are {len(columns.inputs)} columns with inputs, but a time step is one token",
            "name the one with the tokens: --inputs",
        )
    notes: list[str] = []
    num_buckets = 1 if in_input_order else _num_buckets(files.paths)
    batches = _batches(files, columns, options, notes, num_buckets)
    return Sequences(batches, columns.inputs, notes)


def _batches(
    files: CsvFiles, columns: Columns, options: CsvOptions, notes: list[str], num_buckets: int
) -> Iterator[pa.RecordBatch]:
    types = types_of(files, columns, options)
    if columns.time:
        types[columns.time] = _time_type(files, columns.time)
    num_unordered = 0
    rows = (_keyed(block, columns, files) for block in files.read(types))
    for table in in_buckets(rows, num_buckets):
        steps = Steps(table, files)
        num_unordered += steps.num_unordered
        yield _sequences(steps, columns)
    if num_unordered:
        notes.append(f"sequences that had to be sorted by time: {num_unordered:,}")


def _time_type(files: CsvFiles, name: str) -> pa.DataType:
    """Return the type of the column with the times: a number, or a point in time."""
    kind = files.first_types[name]
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return pa.timestamp("ns", getattr(kind, "tz", None))
    if pa.types.is_integer(kind) and files.first_bad_row(name, pa.int64()) is None:
        return pa.int64()  # float64 has no room for nanoseconds since 1970
    if pa.types.is_string(kind) and files.first_bad_row(name, pa.timestamp("ns")) != FIRST_ROW:
        return pa.timestamp("ns")  # reading the bad row will name it
    return pa.float64()


def _num_buckets(paths: tuple[Path, ...]) -> int:
    sizes = [path.stat().st_size * (_UNZIPPED if path.suffix == ".gz" else 1) for path in paths]
    return min(_MAX_BUCKETS, 1 + sum(sizes) // _BUCKET_BYTES)


def _keyed(block: Block, columns: Columns, files: CsvFiles) -> pa.RecordBatch:
    """Return the rows of a block with their id, their time and their place in the files."""
    table = block.table
    places = np.arange(table.num_rows) + block.first_row
    places += files.paths.index(block.path) << FILE_SHIFT
    ids = table.column(columns.id) if columns.id else pa.array([str(block.path)] * table.num_rows)
    named = {KEY: ids, PLACE: pa.array(places)}
    named |= {TIME: table.column(columns.time)} if columns.time else {}
    for what, name in ((KEY, columns.id), (TIME, columns.time)):
        if what in named and named[what].null_count:
            row = block.first_row + int(np.argmax(named[what].is_null().to_numpy(False)))
            raise DataError(
                f"{block.path}, row {row}, column '{name}': the cell is empty",
                "fill it in, or remove the row",
            )
    named |= {name: table.column(name) for name in (*columns.kept.values(), *columns.inputs)}
    return pa.RecordBatch.from_pydict(named)


def _sequences(steps: Steps, columns: Columns) -> pa.RecordBatch:
    inputs = [steps.column(name) for name in columns.inputs]
    values = inputs[0]
    if not pa.types.is_string(values.type):
        numbers = [values.to_numpy(zero_copy_only=False) for values in inputs]  # null becomes NaN
        values = np.stack(numbers, axis=1) if len(numbers) > 1 else numbers[0]
    ids = steps.ids if columns.id else pa.array([Path(path).stem for path in steps.ids.to_pylist()])
    found = {ID: ids, INPUTS: lists_of(values, steps.lengths_N)}
    found |= {new: steps.constant(name) for new, name in columns.kept.items()}
    return pa.RecordBatch.from_pydict(found)
