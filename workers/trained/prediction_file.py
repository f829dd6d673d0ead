"""A file of predictions that is written a block at a time: Parquet, or JSON lines."""

from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from workers.trained.json_lines import json_lines

Form = Literal["jsonl", "parquet"]
_GROUP_ROWS = 2**16


class PredictionFile(Protocol):
    """What blocks of rows are written to. Leave its context to complete the file."""

    def __enter__(self) -> "PredictionFile": ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def write(self, rows: pa.RecordBatch) -> None:
        """Raises OSError."""
        ...


class LinesFile:
    """JSON lines, one for each row."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115

    def __enter__(self) -> "LinesFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, rows: pa.RecordBatch) -> None:
        self._file.write(json_lines(rows))


class ParquetFile:
    """Parquet in row groups of `_GROUP_ROWS` at most. Some blocks are kept until they fill one."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> "ParquetFile":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
        finally:
            self._writer.close()

    def write(self, rows: pa.RecordBatch) -> None:
        self._waiting.append(rows)
        if sum(one.num_rows for one in self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            table = pa.Table.from_batches(self._waiting)
            self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        self._waiting = []


def prediction_file(path: Path, form: Form, schema: pa.Schema) -> PredictionFile:
    """Create a file. Raises OSError."""
    return LinesFile(path) if form == "jsonl" else ParquetFile(path, schema)
