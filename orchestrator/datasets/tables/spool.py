"""Rows on the local disk, between the pass over the source and the cut into shards.

The source may be far away, and is read only once. Which numbers tokens and classes have is known
after that.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa


class Spool:
    """The rows of one split, in their order, in parts."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pa.ipc.RecordBatchFileWriter | None = None
        self.num_rows = self.num_bytes = 0

    def add(self, rows: pa.RecordBatch) -> None:
        """Write more rows. All must have the same columns."""
        if not rows.num_rows:
            return
        if self._writer is None:
            self._writer = pa.ipc.new_file(self._path, rows.schema)
        self._writer.write_batch(rows)
        self.num_rows += rows.num_rows
        self.num_bytes += rows.get_total_buffer_size()

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def parts(self) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Return the rows as they were added, each part with the number of its first row. They lie
        in the file, and take no memory."""
        if self._writer is None:
            return
        first = 0
        with pa.memory_map(str(self._path)) as file:
            reader = pa.ipc.open_file(file)
            for number in range(reader.num_record_batches):
                part = reader.get_batch(number)
                yield first, part
                first += part.num_rows
