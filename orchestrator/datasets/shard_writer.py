"""Write the file of a shard, a row group at a time, and its entry in the manifest."""

import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from workers.shards.shard_file import footer_sha256, shard_name

_READ_BYTES = 2**20


class ShardWriter:
    """The file of a shard that is being written."""

    def __init__(
        self,
        folder: Path,
        split: str,
        shard: int,
        num_shards: int,
        schema: pa.Schema,
        use_dictionary: bool = True,
    ) -> None:
        self.path = folder / shard_name(split, shard, num_shards)
        self.num_rows = 0
        # With the checksums, a damaged page is found when its block is read, without the others.
        self._writer = pq.ParquetWriter(
            self.path,
            schema,
            compression="zstd",
            use_dictionary=use_dictionary,
            write_page_checksum=True,
        )

    def write_group(self, rows: pa.Table) -> None:
        """Write some rows as one row group."""
        self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        self.num_rows += rows.num_rows

    def close(self) -> None:
        self._writer.close()

    def entry(self) -> dict[str, Any]:
        """Return the entry of the closed file. That of sequences also needs `steps`."""
        digest = hashlib.sha256()
        with open(self.path, "rb") as file:
            while part := file.read(_READ_BYTES):
                digest.update(part)
            footer = footer_sha256(file)
        return {
            "file": self.path.name,
            "rows": self.num_rows,
            "sha256": digest.hexdigest(),
            "footer_sha256": footer,
        }
