"""The files of one shard, one for each split: load all rows of them, or only some blocks.

Whoever needs the rows reads them from the storage himself. What he must know for that is small, and
travels as JSON. It imports no torch until rows are read.
"""

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from workers.data.kinds import SPLITS, DataShape
from workers.data.numbers import first_line
from workers.errors import DataError, RefusedFileError
from workers.shards.shard_file import (
    ShardSize,
    check_rows,
    footer_sha256,
    max_bytes,
    open_shard,
    read_shard_in_parts,
)
from workers.storage.storage import Storage
from workers.storage.typed_json import Json

if TYPE_CHECKING:
    from workers.data.rows import Rows, ShardData

_HASHED_BYTES = 2**20


class ShardFiles:
    """The files of one shard in a folder, and what its manifest says of them."""

    def __init__(
        self, folder: Storage, shape: DataShape, entries: Mapping[str, Json], recut_command: str
    ) -> None:
        """
        Args:
            entries: by split, the manifest's entry of the file.
            recut_command: the command that cuts the data set again, for errors.
        """
        self._folder, self._shape = folder, shape
        self._entries, self._recut_command = entries, recut_command
        self._places: dict[str, tuple[pq.FileMetaData, NDArray[np.int64]]] = {}

    def to_json(self) -> Json:
        return {
            "uri": self._folder.uri,
            "entries": {split: dict(self._entries[split]) for split in SPLITS},
            "recut_command": self._recut_command,
        }

    @staticmethod
    def from_json(content: Json, shape: DataShape) -> "ShardFiles":
        """`content`: what `to_json` returned, maybe in another process."""
        folder = Storage(content["uri"]).confined().with_retries()
        return ShardFiles(folder, shape, content["entries"], content["recut_command"])

    def table(self, split: str) -> pa.Table:
        """Return all rows of a split. Raises DataError if the file is missing or was changed."""
        with self._data_errors(split):
            file = self._open(split, io.BytesIO(self._content(split)))
            return pa.concat_tables(read_shard_in_parts(file, self._shape))

    def content(self, split: str) -> bytes:
        """Return the bytes of a file. Raises DataError if it is missing or was changed."""
        with self._data_errors(split):
            return self._content(split)

    def load(self) -> "ShardData":
        """Return all rows. Raises DataError."""
        return {split: self._load(split) for split in SPLITS}

    def _load(self, split: str) -> "Rows":
        from workers.data.rows import collected
        from workers.data.tables import rows_from_table

        with self._data_errors(split):
            file = self._open(split, io.BytesIO(self._content(split)))
            tables = read_shard_in_parts(file, self._shape)
            parts = (rows_from_table(table, self._shape) for table in tables)
            return collected(parts, file.metadata.num_rows)

    def verify(self) -> None:
        """Check the bytes of each file and its form. Raises DataError."""
        for split in SPLITS:
            with self._data_errors(split):
                found = self._read_places(split, self._verified)
                self._check_digest(split, "sha256", found)

    def _verified(self, split: str, file: Any) -> str:
        digest = hashlib.sha256()
        while part := file.read(_HASHED_BYTES):
            digest.update(part)
        self._open(split, file)
        return digest.hexdigest()

    def read(self, split: str, spans: Sequence[range]) -> "Rows":
        """Return the rows with these numbers, which ascend. Only their row groups are read.

        Raises DataError.
        """
        from workers.data.rows import collected
        from workers.data.tables import rows_from_table

        def read(split: str, file: Any) -> "Rows":
            metadata, ends = self._places.get(split) or self._find_places(split, file)
            opened = pq.ParquetFile(file, metadata=metadata, page_checksum_verification=True)
            parts = (rows_from_table(self._span(opened, ends, span), self._shape) for span in spans)
            return collected(parts, sum(map(len, spans)))

        with self._data_errors(split):
            rows: Rows = self._read_places(split, read)
            return rows

    def _find_places(self, split: str, file: Any) -> tuple[pq.FileMetaData, NDArray[np.int64]]:
        """Return the metadata of a file, and with which row each of its row groups ends."""
        if "footer_sha256" not in self._entries[split]:
            raise ValueError("an earlier version cut it into parts too large to stream")
        metadata = self._open(split, file).metadata
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        self._places[split] = metadata, np.cumsum([group.num_rows for group in groups])
        return self._places[split]

    def _open(self, split: str, file: Any) -> pq.ParquetFile:
        """Open a file without reading its rows. Raises ValueError if it is not the manifest's.

        The hash of the footer comes first: pyarrow ends the process at some that are damaged.
        """
        if "footer_sha256" in self._entries[split]:
            self._check_digest(split, "footer_sha256", footer_sha256(file))
        file.seek(0)
        return open_shard(file, self._shape, self._size(split))

    def _span(self, file: pq.ParquetFile, ends: NDArray[np.int64], span: range) -> pa.Table:
        """Return neighbouring rows. `ends`: with which row each row group ends."""
        first, last = np.searchsorted(ends, (span.start, span.stop - 1), side="right").tolist()
        table = file.read_row_groups(list(range(first, last + 1)), use_threads=False)
        begin = int(ends[first - 1]) if first else 0
        check_rows(table, self._shape, int(ends[last]) - begin)
        return table.slice(span.start - begin, len(span))

    def _read_places(self, split: str, use: Any) -> Any:
        def checked(file: Any) -> Any:
            try:
                return use(split, file)
            except (pa.ArrowException, OSError) as error:
                if self._folder.local_path is None:  # the network may have failed
                    raise
                raise self._damaged(split, ValueError(first_line(error))) from error
            except ValueError as error:
                raise self._damaged(split, error) from error

        limit = max_bytes(self._shape, self._size(split))
        return self._folder.read_places(self._name(split), checked, limit)

    def _content(self, split: str) -> bytes:
        limit = max_bytes(self._shape, self._size(split))
        data = self._folder.read(self._name(split), limit)
        self._check_digest(split, "sha256", hashlib.sha256(data).hexdigest())
        return data

    def _check_digest(self, split: str, key: str, found: str) -> None:
        if found != (wanted := self._entries[split][key]):
            what = "its SHA-256" if key == "sha256" else "the SHA-256 of its footer"
            raise ValueError(f"{what} is {found[:12]}, not {wanted[:12]}")

    def _size(self, split: str) -> ShardSize:
        entry = self._entries[split]
        return ShardSize(entry["rows"], entry.get("steps", 0))

    def _name(self, split: str) -> str:
        return str(self._entries[split]["file"])

    def _damaged(self, split: str, error: ValueError) -> DataError:
        where = self._folder.where(self._name(split))
        return DataError(
            f"the shard {where} does not match its manifest: {error}",
            f"cut the data set again: {self._recut_command}",
        )

    @contextlib.contextmanager
    def _data_errors(self, split: str) -> Iterator[None]:
        """Raise errors about a shard as DataError."""
        cure = f"cut the data set again: {self._recut_command}"
        try:
            yield
        except FileNotFoundError as error:
            where = self._folder.where(self._name(split))
            raise DataError(f"the shard {where} is missing", cure) from error
        except RefusedFileError as error:
            raise DataError(f"the shard {error.cause}", cure) from error
        except ValueError as error:
            raise self._damaged(split, error) from error
