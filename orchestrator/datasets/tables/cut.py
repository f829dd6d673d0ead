"""Cut a user's tables into shards: one pass over the source, then over the rows for each shard."""

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.datasets.manifest import Origin, write_manifest
from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.shard_file import check_num_shards, shard_name
from orchestrator.datasets.tables.digests import Digests
from orchestrator.datasets.tables.files import Tables
from orchestrator.datasets.tables.kinds import input_kind, target_kind
from orchestrator.datasets.tables.scan import Scan
from orchestrator.datasets.tables.spool import Spool
from workers.data.encode import encode_lists
from workers.data.kinds import SPLITS, DataShape
from workers.data.kinds.inputs import MAX_VALUES, SequenceInput, VectorInput
from workers.data.shard_schema import shard_schema
from workers.data.targets.encode import encode_targets
from workers.errors import InputError

_GROUP_BYTES = 2**24


def cut_tables(
    tables: dict[str, Tables],
    digests: Mapping[str, str],
    options: TableOptions,
    as_tokens: bool,
    num_shards: int,
    name: str,
    folder: Path,
) -> None:
    """Write the shards and the manifest into a folder.

    Args:
        tables: the tables by the split that they hold; those under "train" are split.
        digests: what identifies the files of each.
        as_tokens: whether lists of integers are tokens.
        name: the name of the data set.

    Raises DataError or InputError.
    """
    rows_folder = folder / "rows"
    rows_folder.mkdir()
    scan = Scan(tables, options, as_tokens, rows_folder)
    shape = _shape(scan, options, num_shards, name)
    shards = {
        split: [
            _write_shard(scan.splits[split].spool, shape, split, shard, folder)
            for shard in range(num_shards)
        ]
        for split in SPLITS
    }
    shutil.rmtree(rows_folder)
    origin = Origin(
        uri=name,
        digest=hashlib.sha256(repr(sorted(digests.items())).encode()).hexdigest(),
        num_files=sum(len(source.files) for source in tables.values()),
        splits=dict(scan.rule.described()),
        notes=scan.notes,
    )
    write_manifest(folder, shape, shards, origin)


def _shape(scan: Scan, options: TableOptions, num_shards: int, name: str) -> DataShape:
    train, validation, test = (scan.splits[split].spool.num_rows for split in SPLITS)
    target = target_kind(scan)
    kind = input_kind(scan, options)
    check_num_shards(train, num_shards)
    shape = DataShape(
        name=name,
        fingerprint="",
        num_shards=num_shards,
        input=kind,
        target=target,
        train_rows=train,
        validation_rows=validation,
        test_rows=test,
    )
    digests = Digests(kind, target)
    for split in SPLITS:
        for _, part in scan.splits[split].spool.parts():
            digests.add(split, _encoded(part, shape))
    return shape.model_copy(
        update={"fingerprint": digests.fingerprint, "rows_digest": digests.rows_digest}
    )


def _encoded(rows: pa.RecordBatch, shape: DataShape) -> pa.RecordBatch:
    """Return rows of a spool with the columns of `shard_schema`."""
    assert isinstance(shape.input, SequenceInput)
    columns = [
        encode_lists(rows.column("inputs"), shape.input),
        encode_targets(rows.column("target"), shape.target, str),
    ]
    return pa.record_batch(columns, shard_schema(shape))


def _write_shard(
    spool: Spool, shape: DataShape, split: str, shard: int, folder: Path
) -> dict[str, Any]:
    """Write a shard, and return its entry in the manifest."""
    file = shard_name(split, shard, shape.num_shards)
    num_rows = num_values = 0
    # A dictionary of numbers that hardly repeat takes more room than the numbers.
    is_vectors = isinstance(shape.input, VectorInput)
    with pq.ParquetWriter(
        folder / file, shard_schema(shape), compression="zstd", use_dictionary=not is_vectors
    ) as writer:
        for rows in _row_groups(_rows_of(spool, shape, shard)):
            writer.write_table(rows)
            num_rows += rows.num_rows
            num_values += sum(len(chunk.flatten()) for chunk in rows.column(0).chunks)
    if num_values > MAX_VALUES:
        raise InputError(
            f"a shard has {num_values:,} values, and {MAX_VALUES:,} are the most",
            f"take more shards: --set dataset.num_shards={2 * shape.num_shards}",
        )
    return {
        "file": file,
        "rows": num_rows,
        "steps": num_values // shape.input.width,
        "sha256": _sha256(folder / file),
    }


def _rows_of(spool: Spool, shape: DataShape, shard: int) -> Iterator[pa.RecordBatch]:
    """Return the rows of a shard in their order, in parts."""
    for first, part in spool.parts():
        start = (shard - first) % shape.num_shards
        index = range(start, part.num_rows, shape.num_shards)
        if index:
            yield _encoded(part.take(pa.array(index, pa.int64())), shape)


def _row_groups(parts: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Put parts together until a row group is large enough."""
    pending: list[pa.RecordBatch] = []
    for part in parts:
        pending.append(part)
        if sum(each.nbytes for each in pending) >= _GROUP_BYTES:
            yield pa.Table.from_batches(pending)
            pending = []
    if pending:
        yield pa.Table.from_batches(pending)


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        while part := stream.read(2**20):
            digest.update(part)
    return digest.hexdigest()
