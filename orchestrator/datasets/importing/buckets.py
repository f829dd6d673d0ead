"""Sort rows that do not fit in memory by their key: all rows of a key go to one temporary file."""

import contextlib
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

KEY = "__key__"


def in_buckets(batches: Iterable[pa.RecordBatch], num_buckets: int) -> Iterator[pa.Table]:
    """Yield tables in which the rows of all batches with equal text in the column KEY are together.

    Within a table, rows keep their order. With one bucket, it has all rows.
    """
    with tempfile.TemporaryDirectory(prefix="rnnjob-import-") as folder:
        paths = [Path(folder, str(bucket)) for bucket in range(num_buckets)]
        _deal_out(batches, paths)
        for path in paths:
            if path.exists():
                with pa.memory_map(str(path)) as file:
                    yield pa.ipc.open_stream(file).read_all()
                path.unlink()


def _deal_out(batches: Iterable[pa.RecordBatch], paths: list[Path]) -> None:
    """Write each row to the file of its key."""
    with contextlib.ExitStack() as stack:
        writers: dict[int, pa.RecordBatchStreamWriter] = {}
        for batch in batches:
            bucket_N = _bucket_of(batch.column(KEY), len(paths))
            for bucket in np.unique(bucket_N).tolist():
                if bucket not in writers:
                    writer = pa.ipc.new_stream(str(paths[bucket]), batch.schema)
                    writers[bucket] = stack.enter_context(writer)
                rows = pa.array(np.flatnonzero(bucket_N == bucket))
                writers[bucket].write_batch(batch.take(rows))


def _bucket_of(keys: pa.Array, num_buckets: int) -> NDArray[np.int64]:
    """Return the bucket of each key. It depends on the bytes of the key alone."""
    encoded = keys.dictionary_encode()
    buckets = [zlib.crc32(key.encode()) % num_buckets for key in encoded.dictionary.to_pylist()]
    found: NDArray[np.int64] = np.array(buckets, np.int64)[encoded.indices.to_numpy()]
    return found
