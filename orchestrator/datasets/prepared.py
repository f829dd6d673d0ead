"""A data set cut into shards: open it, check it, read it, publish it."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.datasets.shard_file import (
    bytes_per_row,
    check_shape,
    max_bytes,
    not_standardized,
    num_rows_of,
    open_shard,
    read_shard,
    shard_name,
)
from orchestrator.units import show_bytes
from workers.config import SPLITS, DataShape
from workers.errors import DataError, InputError, RefusedFileError
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

MANIFEST = "manifest.json"
_PUBLISHED = ".data"
"""The folder in a storage that published data sets are copied to."""


@dataclass(frozen=True)
class PreparedData:
    """A data set that is cut into shards, in a folder on any storage."""

    folder: Storage
    shape: DataShape
    shards: Mapping[str, list[dict[str, Any]]]
    """The entries of the manifest by split, one per shard: file, rows, sha256."""
    recut_command: str
    """The command that cuts the data set again, for error messages."""

    def table(self, split: str, shard: int) -> pa.Table:
        """Return the rows of a shard. Raises DataError if the file is missing or was changed."""
        with self._data_errors(split, shard):
            return read_shard(self._opened(split, shard), self.shape)

    def verify(self) -> None:
        """Check the bytes of every shard.

        Raises DataError if one is missing, was changed, or does not have the form that the manifest
        says.
        """
        for split in SPLITS:
            for shard in range(self.shape.num_shards):
                with self._data_errors(split, shard):
                    self._opened(split, shard)

    def _opened(self, split: str, shard: int) -> pq.ParquetFile:
        num_rows = num_rows_of(self.shape, split, shard)
        return open_shard(self._content(split, shard), self.shape, num_rows)

    def shard_bytes(self, split: str, shard: int) -> bytes:
        """Return the file of a shard. Raises DataError if it is missing or was changed."""
        with self._data_errors(split, shard):
            return self._content(split, shard)

    def _content(self, split: str, shard: int) -> bytes:
        limit = max_bytes(self.shape, num_rows_of(self.shape, split, shard))
        data = self.folder.read(self._name(split, shard), limit)
        digest, wanted = hashlib.sha256(data).hexdigest(), self.shards[split][shard]["sha256"]
        if digest != wanted:
            raise ValueError(f"its SHA-256 is {digest[:12]}, not {wanted[:12]}")
        return data

    def _name(self, split: str, shard: int) -> str:
        return shard_name(split, shard, self.shape.num_shards)

    @contextlib.contextmanager
    def _data_errors(self, split: str, shard: int) -> Iterator[None]:
        """Raise errors about a shard as DataError."""
        where = self.folder.where(self._name(split, shard))
        cure = f"cut the data set again: {self.recut_command}"
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"the shard {where} is missing", cure) from error
        except RefusedFileError as error:
            raise DataError(f"the shard {error.cause}", cure) from error
        except ValueError as error:
            raise DataError(
                f"the shard {where} does not match its manifest: {error}", cure
            ) from error

    def check_budget(self, num_workers: int, budget: int) -> None:
        """Raise InputError if the rows of a worker would take more than `budget` bytes."""
        shape = self.shape
        rows = sum(shape.num_rows(split) for split in SPLITS)
        hosted = -(-shape.num_shards // num_workers)
        needed = rows * bytes_per_row(shape) * hosted // shape.num_shards
        if needed > budget:
            raise InputError(
                f"a worker would hold {show_bytes(needed)} of rows, "
                f"above dataset.memory_budget {show_bytes(budget)}",
                f"take more workers (now {num_workers}), or --set dataset.memory_budget="
                f"{-(-needed // 2**20)}MiB",
            )

    def publish(self, storage: Storage) -> str:
        """Copy the shards to `<storage>/.data`, for machines that cannot read this folder.

        Nothing is copied if a complete copy exists. Returns the URI of the copy. Raises
        StorageError, or DataError if a shard is missing or was changed.
        """
        name = self.folder.name
        target = storage.child(_PUBLISHED).child(name).confined()
        if not target.exists(MANIFEST):
            for split in SPLITS:
                for shard in range(self.shape.num_shards):
                    target.write(self._name(split, shard), self.shard_bytes(split, shard))
            # Last: it marks the copy as complete.
            target.write(MANIFEST, self.folder.read(MANIFEST, LARGE_BYTES))
        return target.uri


def _check_entries(split: str, entries: list[dict[str, Any]], shape: DataShape) -> None:
    """Raise ValueError, KeyError or TypeError if the entries of a split do not match the shape.

    The file names are checked, because a wrong name could lead to any file.
    """
    if len(entries) != shape.num_shards:
        raise ValueError("it does not list every shard once")
    for shard, entry in enumerate(entries):
        wanted = {
            "file": shard_name(split, shard, shape.num_shards),
            "rows": num_rows_of(shape, split, shard),
            "sha256": str(entry["sha256"]),
        }
        listed = {key: entry[key] for key in wanted}
        if listed != wanted:
            raise ValueError(f"it lists {str(listed)[:200]}, not {wanted}")


def open_prepared(
    folder: Storage, standardize: bool = True, test_head_rows: int = 0, recut_command: str = ""
) -> PreparedData:
    """Open a folder of shards. Only its manifest is read.

    Args:
        standardize: whether the shape holds the mean and standard deviation of the pixels.
        test_head_rows: see `DataShape`.
        recut_command: the command that cuts the data set again.

    Raises:
        DataError: the manifest is missing or damaged.
        InputError: `test_head_rows` is larger than the test split.
    """
    folder = folder.confined()
    try:
        manifest = parse_object(folder.read(MANIFEST, LARGE_BYTES))
        content = {**manifest["shape"], "test_head_rows": test_head_rows}
        shape = DataShape.model_validate(content)
        if not standardize:
            shape = not_standardized(shape)
        check_shape(shape)
        shards = {split: list(manifest["shards"][split]) for split in SPLITS}
        for split, entries in shards.items():
            _check_entries(split, entries, shape)
    except (FileNotFoundError, ValueError, KeyError, TypeError, RefusedFileError) as error:
        raise DataError(
            f"the manifest of {folder.where()} is damaged: {error!r}",
            f"delete {folder.where()}; the data set is cut again when a job needs it",
        ) from error
    if test_head_rows > shape.test_rows:
        raise InputError(
            f"test_head_rows is {test_head_rows}, but the test split has {shape.test_rows} rows",
            "take fewer: --set dataset.test_head_rows=0",
        )
    recut_command = recut_command or f"delete {folder.where()}, submit again"
    return PreparedData(folder, shape, shards, recut_command)
