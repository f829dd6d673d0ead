"""The rows of one shard in memory.

N rows of the shard, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from workers.config import DataShape
from workers.errors import DataError


@dataclass(frozen=True)
class Rows:
    """Some rows of one split: images (N, H, W) uint8, labels (N) int64."""

    images_NHW: Tensor
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)

    def to(self, device: torch.device) -> "Rows":
        return Rows(self.images_NHW.to(device), self.labels_N.to(device))

    def copy_(self, others: "Rows") -> None:
        """Overwrite these rows with as many others."""
        self.images_NHW.copy_(others.images_NHW)
        self.labels_N.copy_(others.labels_N)

    def pinned(self) -> "Rows":
        """Return the rows in memory of the host from which a GPU copies while the host goes on."""
        return Rows(self.images_NHW.pin_memory(), self.labels_N.pin_memory())

    def split(self, sizes: Sequence[int]) -> list["Rows"]:
        """Return these rows as parts of the given sizes, without a copy."""
        sizes = list(sizes)
        images, labels = torch.split(self.images_NHW, sizes), torch.split(self.labels_N, sizes)
        return [Rows(*part) for part in zip(images, labels, strict=True)]

    @property
    def num_bytes(self) -> int:
        return self.images_NHW.nbytes + self.labels_N.nbytes


def empty_rows(number: int, data: DataShape) -> Rows:
    """Return memory of the host for so many rows, with whatever is in it."""
    images = torch.empty(number, data.height, data.width, dtype=torch.uint8)
    return Rows(images, torch.empty(number, dtype=torch.int64))


ShardData = dict[str, Rows]
"""The rows of one shard, by split."""


def rows_from_table(table: pa.Table, data: DataShape) -> Rows:
    """Convert a table with columns `image` (fixed-size list of height*width uint8) and `label`.

    Raises DataError if the images have another size.
    """
    pixels = data.height * data.width
    image_type = table.schema.field("image").type
    if image_type != pa.list_(pa.uint8(), pixels):
        raise DataError(
            f"column 'image' of {data.name} is {image_type}, not a list of {pixels} uint8",
            "cut the data set again: rnnjob data prepare",
        )
    column = table.column("image").combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], image_type)
    # flatten() honours the slice that a chunk may be; .values would not.
    flat = column.flatten().to_numpy(zero_copy_only=False)
    images = np.array(flat, dtype=np.uint8).reshape(table.num_rows, data.height, data.width)
    labels = np.array(table.column("label").to_numpy(), dtype=np.int64)
    return Rows(torch.from_numpy(images), torch.from_numpy(labels))
