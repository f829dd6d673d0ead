"""Read sequences from idx files: images whose rows are the time steps, and their labels."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from orchestrator.datasets.idx import open_idx
from orchestrator.datasets.importing.sequences import (
    INPUTS,
    TARGET,
    Sequences,
    check_is_file,
    lists_of,
)
from workers.errors import DataError

_PART_BYTES = 2**24


def read_idx_files(inputs: Path, labels: Path | None) -> Sequences:
    """Return the sequences of a file of (N, T, F) or (N, T), with a file of N labels.

    Raises DataError, here and when the batches are read.
    """
    for path in [inputs, *([labels] if labels else [])]:
        check_is_file(path)
    with open_idx(inputs, 2, 3) as file:
        shape = file.shape
    if 0 in shape[1:]:
        raise DataError(f"{inputs} has the shape {shape}", "name a file with time steps")
    if labels is not None:
        with open_idx(labels, 1) as file:
            num_labels = file.shape[0]
        if num_labels != shape[0]:
            raise DataError(
                f"{inputs} holds {shape[0]:,} sequences, but {labels} {num_labels:,} labels",
                "take both files from the same data set",
            )
    return Sequences(_batches(inputs, labels))


def _batches(inputs: Path, labels: Path | None) -> Iterator[pa.RecordBatch]:
    targets = _labels(labels) if labels else None
    with open_idx(inputs, 2, 3) as file:
        num_rows, num_steps, *width = file.shape
        part_rows = max(1, _PART_BYTES // (num_steps * (width or [1])[0]))
        for start in range(0, num_rows, part_rows):
            values = file.read(min(part_rows, num_rows - start))
            lengths = np.full(len(values), num_steps, np.int64)
            columns = {INPUTS: lists_of(values.reshape(-1, *width), lengths)}
            if targets is not None:
                columns[TARGET] = targets.slice(start, len(values))
            yield pa.RecordBatch.from_pydict(columns)
        file.check_end()


def _labels(path: Path) -> pa.Array:
    with open_idx(path, 1) as file:
        labels = file.read(file.shape[0])
        file.check_end()
    return pa.array(labels)
