"""A data set cut into shards: open it, check it, read it, publish it."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.datasets.shard_file import (
    check_shape,
    num_rows_of,
    open_shard,
    read_shard,
    shard_name,
)
from orchestrator.units import show_bytes
from workers.config import SPLITS, DataShape
from workers.errors import DataError, InputError
from workers.jsons import parse_object
from workers.storage import Storage

MANIFEST = "manifest.json"
_PUBLISHED = ".data"


@dataclass(frozen=True)
class PreparedData:
    """Shards in a folder on any storage."""

    folder: Storage
    shape: DataShape
    shards: Mapping[str, list[dict[str, Any]]]
    """By split: file, rows and sha256 of each shard."""
    recut: str
    """The command that makes them anew."""

    def table(self, split: str, shard: int) -> pa.Table:
        """The rows of a shard. Raises DataError where the file is not what was cut."""
        with self._explained(split, shard):
            return read_shard(self._opened(split, shard), self.shape)

    def verify(self) -> None:
        """Checks every shard's bytes. Raises DataError where one is missing, changed, or of another
        form than the manifest tells."""
        for split in SPLITS:
            for shard in range(self.shape.num_shards):
                with self._explained(split, shard):
                    self._opened(split, shard)

    def _opened(self, split: str, shard: int) -> pq.ParquetFile:
        num_rows = num_rows_of(self.shape, split, shard)
        return open_shard(self._content(split, shard), self.shape, num_rows)

    def _content(self, split: str, shard: int) -> bytes:
        data = self.folder.read(self._name(split, shard))
        digest, wanted = hashlib.sha256(data).hexdigest(), self.shards[split][shard]["sha256"]
        if digest != wanted:
            raise ValueError(f"SHA-256 {digest[:12]}, not {wanted[:12]}")
        return data

    def _name(self, split: str, shard: int) -> str:
        return shard_name(split, shard, self.shape.num_shards)

    @contextlib.contextmanager
    def _explained(self, split: str, shard: int) -> Iterator[None]:
        where = self.folder.where(self._name(split, shard))
        cure = f"cut the data set again: {self.recut}"
        try:
            yield
        except FileNotFoundError as error:
            raise DataError(f"the shard {where} is missing", cure) from error
        except ValueError as error:
            raise DataError(
                f"the shard {where} does not match its manifest: {error}", cure
            ) from error

    def check_budget(self, num_workers: int, budget: int) -> None:
        """Raises InputError where a worker's rows would take more than `budget` bytes."""
        shape = self.shape
        rows = sum(shape.num_rows(split) for split in SPLITS)
        hosted = -(-shape.num_shards // num_workers)
        needed = rows * (shape.height * shape.width + 8) * hosted // shape.num_shards
        if needed > budget:
            raise InputError(
                f"a worker would hold {show_bytes(needed)} of rows, "
                f"above dataset.memory_budget {show_bytes(budget)}",
                f"take more workers (now {num_workers}), or --set dataset.memory_budget="
                f"{-(-needed // 2**20)}MiB",
            )

    def publish(self, storage: Storage) -> str:
        """Copies the shards to `<storage>/.data`, once, for those who cannot read this folder.

        Returns the URI of the copy. Raises StorageError.
        """
        name = self.folder.name
        target = storage.child(_PUBLISHED).child(name)
        if not target.exists(MANIFEST):
            for split in SPLITS:
                for shard in range(self.shape.num_shards):
                    with self._explained(split, shard):
                        target.write(self._name(split, shard), self._content(split, shard))
            target.write(MANIFEST, self.folder.read(MANIFEST))  # last: it makes the copy whole
        return target.uri


def _check_entries(split: str, entries: list[dict[str, Any]], shape: DataShape) -> None:
    """Raises ValueError or TypeError. A name that is not its own could lead to any file."""
    if len(entries) != shape.num_shards:
        raise ValueError("a shard is not listed")
    for shard, entry in enumerate(entries):
        wanted = {
            "file": shard_name(split, shard, shape.num_shards),
            "rows": num_rows_of(shape, split, shard),
            "sha256": str(entry["sha256"]),
        }
        found = {key: entry[key] for key in wanted}
        if found != wanted:
            raise ValueError(f"{str(found)[:200]} is listed, not {wanted}")


def open_prepared(
    folder: Storage, standardize: bool = True, test_head_rows: int = 0, recut: str = ""
) -> PreparedData:
    """Opens a folder of shards.

    Raises:
        DataError: its manifest is missing or damaged.
        InputError: more head rows are wanted than there are.
    """
    try:
        manifest = parse_object(folder.read(MANIFEST))
        content = {**manifest["shape"], "test_head_rows": test_head_rows}
        if not standardize:
            content |= {"pixel_mean": 0.0, "pixel_std": 1.0}
        shape = DataShape.model_validate(content)
        check_shape(shape)
        shards = {split: list(manifest["shards"][split]) for split in SPLITS}
        for split, entries in shards.items():
            _check_entries(split, entries, shape)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"the manifest of {folder.where()} is damaged: {error!r}",
            f"delete {folder.where()}; it is cut again when needed",
        ) from error
    if test_head_rows > shape.test_rows:
        raise InputError(
            f"test_head_rows is {test_head_rows}, the test split has {shape.test_rows} rows",
            "take fewer: --set dataset.test_head_rows=0",
        )
    return PreparedData(folder, shape, shards, recut or f"delete {folder.where()}, submit again")
