"""Checks of the storage and of the data set."""

import contextlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.doctor.check import FAIL, OK, WARN, Check, Surroundings
from orchestrator.storage_trial import left_as_found, try_out
from workers.errors import DataError, JobError
from workers.storage import Storage

if TYPE_CHECKING:
    from orchestrator.datasets.prepared import PreparedData


@dataclass(frozen=True)
class Shard:
    """A Parquet file of a data set."""

    dataset: str
    content: bytes


def check_storage(uri: str) -> Check:
    """Writes, reads and deletes a file there, and leaves no folder that was not there before."""
    storage = Storage(uri)
    with left_as_found(storage) as missing:
        try_out(storage, f".rnnjob-doctor-{uuid.uuid4().hex[:8]}")
    made = "; made when needed" if missing else ""
    return Check("storage", OK, f"{storage.where()} can be written, read and deleted from{made}")


def check_dataset(name: str, data_dir: Path | None, num_shards: int) -> Check:
    """Cuts the data set, where that was not done, and reads every shard. Never downloads."""
    from orchestrator.datasets.prepare import prepare

    label = f"dataset {name}"
    if not _is_here(name, data_dir):
        return Check(
            label,
            WARN,
            "not here; will be downloaded",
            f"rnnjob data prepare --dataset {name}, or --data-dir DIR with its idx files",
        )
    try:
        data = prepare(name, data_dir, num_shards)
        data.verify()
    except JobError as error:
        return Check(label, FAIL, error.cause, error.cure)
    shape = data.shape
    rows = shape.train_rows + shape.validation_rows + shape.test_rows
    return Check(
        label,
        OK,
        f"{rows:,} rows in {shape.num_shards} shards, all intact, in {data.folder.where()}",
    )


def a_shard(where: Surroundings) -> Shard:
    """Of the data set, or of the sample where that is not here or not intact. Raises JobError."""
    from orchestrator.datasets.prepare import prepare
    from orchestrator.datasets.sources import SAMPLE

    with contextlib.suppress(JobError, FileNotFoundError):
        if _is_here(where.dataset, where.data_dir):
            return _first_shard(prepare(where.dataset, where.data_dir, where.num_shards))
    return _first_shard(prepare(SAMPLE))


def _first_shard(data: "PreparedData") -> Shard:
    file = str(data.shards["validation"][0]["file"])
    return Shard(data.shape.name, data.folder.read(file))


def _is_here(name: str, data_dir: Path | None) -> bool:
    """Whether it can be had without a download."""
    from orchestrator.datasets.prepare import default_cache
    from orchestrator.datasets.sources import NAMES, SAMPLE, find_source

    if data_dir is None and name in NAMES and name != SAMPLE:
        try:
            find_source(name, default_cache(), default_cache())
        except DataError:
            return False
    return True
