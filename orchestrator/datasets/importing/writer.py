"""Write sequences of any format as one Parquet file, whole or not at all."""

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.datasets.importing.sequences import INPUTS, SPLIT, TARGET, Sequences
from workers.errors import DataError, InputError, StorageError
from workers.storage.whole_file import file_at, written_whole

_ROW_GROUP_BYTES = 2**25
_CURE = "check that its folder can be written and has room, or name another file: --output"


@dataclass
class Written:
    """What a written file holds."""

    where: str
    columns: dict[str, str]
    features: tuple[str, ...] = ()
    rows: int = 0
    steps: int = 0
    min_length: int = 0
    max_length: int = 0
    missing_values: int = 0
    """Numbers or tokens that are null, NaN or infinite."""
    missing_targets: int = 0


def write_sequences(
    sequences: Sequences,
    output: str,
    force: bool = False,
    tell: Callable[[int], None] = lambda rows: None,
) -> Written:
    """Write a Parquet file to a path or to the URI of a storage.

    `tell`: is told how many rows are written.

    Raises:
        InputError: the file exists, and `force` is false.
        DataError: what is read has errors, or no rows.
        StorageError: the file cannot be written.
    """
    try:
        storage, name = file_at(output, "--output", ".parquet")
        if storage.exists(name) and not force:
            cure = "replace it: --force, or name another file: --output"
            raise InputError(f"{storage.where(name)} exists", cure)
        with written_whole(storage, name, _CURE) as path:
            return _write(sequences, path, storage.where(name), tell)
    except StorageError as error:
        raise StorageError(error.cause, _CURE) from error


def _write(sequences: Sequences, path: Path, where: str, tell: Callable[[int], None]) -> Written:
    with contextlib.ExitStack() as stack:
        writer: pq.ParquetWriter | None = None
        written = Written(where, {}, sequences.features)
        for table in _row_groups(sequences.batches):
            if writer is None:
                schema = _described(table.schema, sequences.features)
                writer = stack.enter_context(pq.ParquetWriter(path, schema, compression="zstd"))
                written.columns = {field.name: str(field.type) for field in schema}
            writer.write_table(table.cast(schema), row_group_size=max(1, table.num_rows))
            _count(written, table)
            tell(written.rows)
    if not written.rows:
        raise DataError("there is not one sequence to write", "name a file that has rows")
    return written


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Join batches to tables of at least `_ROW_GROUP_BYTES`; only the last may be smaller."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting += [batch] if batch.num_rows else []
        if sum(one.nbytes for one in waiting) >= _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _described(schema: pa.Schema, features: tuple[str, ...]) -> pa.Schema:
    """Return the schema with the names of the features in the metadata of the column `inputs`."""
    if not features:
        return schema
    place = schema.get_field_index(INPUTS)
    described = schema.field(place).with_metadata({"features": json.dumps(features)})
    return schema.set(place, described)


def _count(written: Written, table: pa.Table) -> None:
    inputs = table.column(INPUTS)
    lengths: NDArray[np.int64] = pc.list_value_length(inputs).to_numpy().astype(np.int64)
    if (empty := int(np.argmin(lengths))) >= 0 and lengths[empty] == 0:
        raise DataError(
            f"sequence {written.rows + empty + 1} has no time steps",
            "remove it: each sequence needs at least one time step",
        )
    shortest, longest = int(lengths.min()), int(lengths.max())
    written.min_length = min(written.min_length, shortest) if written.rows else shortest
    written.max_length = max(written.max_length, longest)
    written.rows += table.num_rows
    written.steps += int(lengths.sum())
    written.missing_values += sum(_num_missing(chunk) for chunk in inputs.chunks)
    if TARGET in table.column_names:
        written.missing_targets += _num_missing(table.column(TARGET).combine_chunks())
    if SPLIT in table.column_names and table.column(SPLIT).null_count:
        raise DataError(
            f"the column '{SPLIT}' has empty cells",
            "write train, validation or test in each, or name the split of all rows: --split",
        )


def _num_missing(values: pa.Array) -> int:
    """Return how many innermost values are null, NaN or infinite."""
    while pa.types.is_list(values.type) or pa.types.is_fixed_size_list(values.type):
        values = values.flatten()
    missing: int = values.null_count
    if pa.types.is_floating(values.type):
        missing += len(values) - values.null_count - (pc.sum(pc.is_finite(values)).as_py() or 0)
    return missing
