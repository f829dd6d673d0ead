"""Cut a user's tables into shards: one pass over the source, then over the rows for each shard."""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa

from orchestrator.datasets.manifest import Origin, write_manifest
from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.progress import Tell, num_threads, tell_nobody
from orchestrator.datasets.shard_writer import ShardWriter
from orchestrator.datasets.tables.digests import Digests
from orchestrator.datasets.tables.files import Tables
from orchestrator.datasets.tables.kinds import input_kind, target_kind
from orchestrator.datasets.tables.scan import Scan
from orchestrator.datasets.tables.spool import Spool
from workers.data.encode import encode_lists
from workers.data.kinds import SPLITS, DataShape, ImageInput
from workers.data.kinds.inputs import MAX_VALUES, SequenceInput, VectorInput
from workers.data.shard_schema import shard_schema
from workers.data.targets.encode import encode_targets
from workers.errors import InputError
from workers.shards.shard_file import check_num_shards, group_rows

_GROUP_BYTES = 2**24


def cut_tables(
    tables: dict[str, Tables],
    digests: Mapping[str, str],
    options: TableOptions,
    as_tokens: bool,
    num_shards: int,
    name: str,
    folder: Path,
    tell: Tell = tell_nobody,
) -> None:
    """Write the shards and the manifest into a folder.

    Args:
        tables: the tables by the split that they hold; those under "train" are split.
        digests: what identifies the files of each.
        as_tokens: whether lists of integers are tokens.
        name: the name of the data set.
        tell: is told how far the cut is.

    Raises DataError or InputError.
    """
    rows_folder = folder / "rows"
    rows_folder.mkdir()
    scan = Scan(tables, options, as_tokens, rows_folder, tell)
    shape = _shape(scan, options, num_shards, name)
    places = [(split, shard) for split in SPLITS for shard in range(num_shards)]
    with ThreadPoolExecutor(num_threads()) as pool:
        # The hashes are made meanwhile, since they need one thread.
        written = [
            pool.submit(_write_shard, scan.splits[split].spool, shape, split, shard, folder)
            for split, shard in places
        ]
        shape = _with_digests(scan, shape, tell)
        shards: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
        for (split, _), entry in zip(places, written, strict=True):
            shards[split].append(entry.result())
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
    return DataShape(
        name=name,
        fingerprint="",
        num_shards=num_shards,
        input=kind,
        target=target,
        train_rows=train,
        validation_rows=validation,
        test_rows=test,
    )


def _with_digests(scan: Scan, shape: DataShape, tell: Tell) -> DataShape:
    """Return the shape with the hashes of all rows."""
    assert not isinstance(shape.input, ImageInput)
    digests = Digests(shape.input, shape.target)
    done, total = 0, sum(shape.num_rows(split) for split in SPLITS)
    for split in SPLITS:
        for _, part in scan.splits[split].spool.parts():
            digests.add(split, _encoded(part, shape))
            done += part.num_rows
            tell("cutting rows", done, total)
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
    # A dictionary of numbers that hardly repeat takes more room than the numbers.
    is_vectors = isinstance(shape.input, VectorInput)
    schema = shard_schema(shape)
    writer = ShardWriter(folder, split, shard, shape.num_shards, schema, not is_vectors)
    num_values = 0
    with contextlib.closing(writer):
        size = group_rows(spool.num_bytes / max(1, spool.num_rows))
        for rows in _row_groups(_rows_of(spool, shape, shard), size):
            writer.write_group(rows)
            num_values += sum(len(chunk.flatten()) for chunk in rows.column(0).chunks)
    if num_values > MAX_VALUES:
        raise InputError(
            f"a shard has {num_values:,} values, and {MAX_VALUES:,} are the most",
            f"take more shards: --set dataset.num_shards={2 * shape.num_shards}",
        )
    return {**writer.entry(), "steps": num_values // shape.input.width}


def _rows_of(spool: Spool, shape: DataShape, shard: int) -> Iterator[pa.RecordBatch]:
    """Return the rows of a shard in their order, in parts."""
    for first, part in spool.parts():
        start = (shard - first) % shape.num_shards
        index = range(start, part.num_rows, shape.num_shards)
        if index:
            yield _encoded(part.take(pa.array(index, pa.int64())), shape)


def _row_groups(parts: Iterator[pa.RecordBatch], size: int) -> Iterator[pa.Table]:
    """Return the rows in groups of so many; only the last may have fewer."""
    pending: list[pa.RecordBatch] = []
    for part in parts:
        pending.append(part)
        table = pa.Table.from_batches(pending)
        whole = table.num_rows - table.num_rows % size
        for first in range(0, whole, size):
            yield table.slice(first, size).combine_chunks()
        pending = table.slice(whole).to_batches()
    if pending:
        yield pa.Table.from_batches(pending)
