"""A data set cut into shards: open it, check it, read it, publish it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.units import show_bytes
from workers.config import SPLITS, DataShape
from workers.errors import DataError, InputError
from workers.jsons import parse_object
from workers.storage import Storage

MANIFEST = "manifest.json"
_ENTRY = {"file", "rows", "sha256"}
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
        return pq.read_table(pa.BufferReader(self._content(split, shard)))

    def _content(self, split: str, shard: int) -> bytes:
        entry = self.shards[split][shard]
        file = str(entry["file"])
        where = self.folder.where(file)
        cure = f"cut the data set again: {self.recut}"
        try:
            data = self.folder.read(file)
        except FileNotFoundError as error:
            raise DataError(f"the shard {where} is missing", cure) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != entry["sha256"]:
            raise DataError(
                f"the shard {where} does not match its manifest: SHA-256 {digest[:12]}, "
                f"not {str(entry['sha256'])[:12]}",
                cure,
            )
        return data

    def verify(self) -> None:
        """Checks every shard's bytes. Raises DataError where one is missing or changed."""
        for split in SPLITS:
            for shard in range(self.shape.num_shards):
                self._content(split, shard)

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
                for shard, entry in enumerate(self.shards[split]):
                    target.write(str(entry["file"]), self._content(split, shard))
            target.write(MANIFEST, self.folder.read(MANIFEST))  # last: it makes the copy whole
        return target.uri


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
        shards = {split: list(manifest["shards"][split]) for split in SPLITS}
        for entries in shards.values():
            if len(entries) != shape.num_shards or not all(set(e) >= _ENTRY for e in entries):
                raise ValueError("a shard is not listed")
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
