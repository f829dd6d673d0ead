"""A data set cut into shards: open it, check it, read it, publish it."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.datasets.manifest import MANIFEST, Entries, Origin, check_entries
from orchestrator.datasets.shard_file import (
    ShardSize,
    check_shape,
    max_bytes,
    num_bytes,
    open_shard,
    read_shard,
    shard_name,
)
from orchestrator.units import show_bytes
from workers.data.kinds import SPLITS, DataShape
from workers.errors import DataError, InputError, RefusedFileError
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

_PUBLISHED = ".data"
"""The folder in a storage that published data sets are copied to."""


@dataclass(frozen=True)
class PreparedData:
    """A data set that is cut into shards, in a folder on any storage."""

    folder: Storage
    shape: DataShape
    shards: Entries
    recut_command: str
    """The command that cuts the data set again, for error messages."""
    origin: Origin = field(default_factory=Origin)

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
        return open_shard(self._content(split, shard), self.shape, self._size(split, shard))

    def _size(self, split: str, shard: int) -> ShardSize:
        entry = self.shards[split][shard]
        return ShardSize(entry["rows"], entry.get("steps", 0))

    def shard_bytes(self, split: str, shard: int) -> bytes:
        """Return the file of a shard. Raises DataError if it is missing or was changed."""
        with self._data_errors(split, shard):
            return self._content(split, shard)

    def _content(self, split: str, shard: int) -> bytes:
        limit = max_bytes(self.shape, self._size(split, shard))
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
        num_shards = self.shape.num_shards
        whole = sum(
            num_bytes(self.shape, self._size(split, shard))
            for split in SPLITS
            for shard in range(num_shards)
        )
        needed = whole * -(-num_shards // num_workers) // num_shards
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


def open_prepared(
    folder: Storage, standardize: bool = True, test_head_rows: int = 0, recut_command: str = ""
) -> PreparedData:
    """Open a folder of shards. Only its manifest is read.

    Args:
        standardize: whether the shape holds the means and standard deviations of the inputs.
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
        check_shape(shape)
        shards = {split: list(manifest["shards"][split]) for split in SPLITS}
        check_entries(shards, shape)
        origin = Origin.model_validate(manifest.get("origin", {}))
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
    if not standardize:
        shape = shape.model_copy(update={"input": shape.input.unscaled()})
    return PreparedData(folder, shape, shards, recut_command, origin)
