"""Checks of the storage and of the data set."""

import contextlib
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.doctor.check import FAIL, OK, WARN, Check, DoctorOptions
from orchestrator.doctor.storage_trial import removing_new_folders, try_storage
from workers.errors import JobError
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.datasets.prepared import PreparedData


@dataclass(frozen=True)
class Shard:
    """A Parquet file of a data set."""

    dataset: str
    content: bytes


def check_storage(uri: str) -> Check:
    """Write, read and delete a file in the storage, and remove the folders made for it."""
    storage = Storage(uri)
    with removing_new_folders(storage) as missing:
        try_storage(storage, f".rnnjob-doctor-{uuid.uuid4().hex[:8]}")
    note = "; a job will create it" if missing else ""
    return Check("storage", OK, f"{storage.where()} can be written, read and deleted from{note}")


def check_dataset(name: str, data_dir: Path | None, num_shards: int) -> Check:
    """Cut the data set into shards if it is not cut yet, and verify every shard.

    Never downloads.
    """
    from orchestrator.datasets.options import TABLE_PREFIX
    from orchestrator.datasets.prepare import prepare

    label = f"dataset {name}"
    if name.startswith(TABLE_PREFIX):
        return _check_tables(label, name.removeprefix(TABLE_PREFIX))
    if not _is_here(name, data_dir):
        return Check(
            label,
            WARN,
            "not on this machine; a job will download it",
            f"run rnnjob data prepare --dataset {name}, or give --data-dir DIR with its idx files",
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


def _check_tables(label: str, uri: str) -> Check:
    """Open each file of a user's tables. Whether they can be trained on, a submission checks."""
    from orchestrator.datasets.tables.files import find_tables

    try:
        tables = find_tables(uri)
        rows = 0
        for file in tables.files:
            with tables.open(file) as opened:
                rows += opened.metadata.num_rows
    except JobError as error:
        return Check(label, FAIL, error.cause, error.cure)
    files = "1 Parquet file" if len(tables.files) == 1 else f"{len(tables.files):,} Parquet files"
    return Check(label, OK, f"{rows:,} rows in {files} can be read")


def load_shard(options: DoctorOptions) -> Shard:
    """Return a shard of the data set, or of the sample if that is not here or not intact.

    Raises JobError.
    """
    from orchestrator.datasets.prepare import prepare
    from orchestrator.datasets.sources import SAMPLE

    with contextlib.suppress(JobError, FileNotFoundError):
        if _is_here(options.dataset, options.data_dir):
            return _first_shard(prepare(options.dataset, options.data_dir, options.num_shards))
    return _first_shard(prepare(SAMPLE))


def _first_shard(data: "PreparedData") -> Shard:
    return Shard(data.shape.name, data.shard(0).content("validation"))


def _is_here(name: str, data_dir: Path | None) -> bool:
    """Whether the data set can be used without a download."""
    from orchestrator.datasets.cache import default_cache
    from orchestrator.datasets.sources import NAMES, is_local

    return data_dir is not None or name not in NAMES or is_local(name, default_cache())
