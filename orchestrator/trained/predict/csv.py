"""CSV files as rows for a model that reads sequences, with the columns that `data import` takes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.datasets.importing.csv_columns import CsvOptions, choose_columns
from orchestrator.datasets.importing.csv_file import CsvFiles
from orchestrator.datasets.importing.csv_long import read_long
from orchestrator.datasets.importing.csv_wide import read_wide
from orchestrator.datasets.importing.sequences import ID, INPUTS, TARGET, Sequences
from orchestrator.datasets.tables.unlabelled import RowBlock, block_of, where_in
from orchestrator.trained.predict.sources import Notes
from workers.data.encode import encode_inputs
from workers.data.kinds import DataShape, TokenInput, VectorInput
from workers.errors import DataError

MAX_LONG_BYTES = 2**28
"""The largest file with a row for each time step: its sequences are put together in memory, so that
they keep their order."""


@dataclass(frozen=True)
class CsvFlags:
    """What the user says of CSV files."""

    form: Literal["long", "wide"] | None = None
    """None: `long` if there are as many columns for inputs as the model reads features."""
    inputs: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = ()
    delimiter: str | None = None


class CsvSource:
    """A CSV file with a row for each time step, or for each sequence."""

    def __init__(self, path: str, shape: DataShape, flags: CsvFlags, notes: Notes) -> None:
        """Look at the columns. Raises DataError."""
        self.num_rows: int | None = None
        self._path, self._notes = Path(path), notes
        assert isinstance(shape.input, VectorInput | TokenInput)
        self._source = _as_one_column(shape.input)
        files = CsvFiles([self._path], flags.delimiter)
        options = _options(files, shape, flags)
        found = choose_columns(files, options, with_time=True).inputs
        self._is_long = _is_long(files, found, shape, flags)
        # With the inputs named, nobody looks at what is in the column of the target.
        self._options = replace(options, inputs=found, target=None)
        has_ids = self._is_long or ID in files.columns
        self.id_type: pa.DataType | None = pa.string() if has_ids else None

    def blocks(self, block_rows: int) -> Iterator[RowBlock]:
        sequences = self._sequences()
        first = 0
        for batch in sequences.batches:
            for start in range(0, batch.num_rows, block_rows):
                yield self._block(batch.slice(start, block_rows), first + start)
            first += batch.num_rows
        if not self._is_long:
            self._notes.lines += [f"{self._path}: {note}" for note in sequences.notes]

    def _sequences(self) -> Sequences:
        if not self._is_long:
            return read_wide([self._path], self._options)
        if self._path.stat().st_size > MAX_LONG_BYTES:
            raise DataError(
                f"{self._path} has a row for each time step, and more than {MAX_LONG_BYTES:,} "
                "bytes",
                f"convert it first: rnnjob data import csv-long {self._path}",
            )
        return read_long([self._path], self._options, in_input_order=True)

    def _block(self, rows: pa.RecordBatch, first: int) -> RowBlock:
        where = where_in(str(self._path), first, "sequence")
        column = rows.column(INPUTS)
        if isinstance(self._source, TokenInput) and not _has_texts(self._source):
            column = _integers(column, where(0))
        inputs = encode_inputs([column], self._source, where)
        ids = rows.column(ID).cast(pa.string()) if self.id_type else None
        return block_of(str(self._path), first, inputs, ids)


def _as_one_column(source: VectorInput | TokenInput) -> VectorInput | TokenInput:
    """Return the kind of input with the name of the column that the importing writes."""
    names = {"column": INPUTS} if isinstance(source, TokenInput) else {"columns": (INPUTS,)}
    return source.model_copy(update=names)


def _options(files: CsvFiles, shape: DataShape, flags: CsvFlags) -> CsvOptions:
    source, target = shape.input, shape.target.column
    named = source.columns if isinstance(source, VectorInput) else (source.column,)  # type: ignore[union-attr]
    inputs = flags.inputs
    if not inputs and not flags.prefixes and all(name in files.columns for name in named):
        inputs = named
    return CsvOptions(
        target=target if target in files.columns and target != TARGET else None,
        inputs=inputs,
        prefixes=flags.prefixes,
        tokens=isinstance(source, TokenInput),
        ragged=not isinstance(source, VectorInput) or source.min_length < source.max_length,
        delimiter=flags.delimiter,
    )


def _is_long(files: CsvFiles, found: tuple[str, ...], shape: DataShape, flags: CsvFlags) -> bool:
    """Return whether a row is a time step. Raises DataError if it cannot be, and is meant to.

    `found`: the columns for inputs.
    """
    source = shape.input
    features = source.num_features if isinstance(source, VectorInput) else 1
    fits = len(found) == features and not flags.prefixes
    if flags.form == "wide" or (flags.form is None and not fits and features == 1):
        return False
    if flags.form is None and flags.prefixes:
        return False
    if not fits:
        raise DataError(
            f"{files.paths[0]} has {len(found)} columns for inputs ({', '.join(found[:8])}"
            f"{', …' if len(found) > 8 else ''}), and the model reads {features} features",
            "name the features of a time step: --inputs; or what the columns of each feature "
            "begin with, if a row is a sequence: --prefix",
        )
    return True


def _has_texts(source: TokenInput) -> bool:
    return bool(source.vocabulary) and isinstance(source.vocabulary[0], str)


def _integers(column: pa.Array, where: str) -> pa.Array:
    """Return lists of texts as lists of integers, which a model's tokens may be."""
    try:
        numbers = pc.cast(column.flatten(), pa.int64())
    except pa.ArrowInvalid as error:
        raise DataError(
            f"a token in {where} or below is no integer, as those of the model are: {error}",
            "correct the cell, or name the columns with the tokens: --inputs",
        ) from error
    sizes = column.value_lengths().to_pylist()
    offsets = [0]
    for size in sizes:
        offsets.append(offsets[-1] + size)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), numbers)
