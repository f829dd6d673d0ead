"""Write the shards of a set of images, with memory for a few row groups of each shard."""

import hashlib
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from orchestrator.datasets.idx import StoredSplit
from orchestrator.datasets.manifest import Origin, write_manifest
from orchestrator.datasets.progress import Tell, in_order
from orchestrator.datasets.shard_writer import ShardWriter
from orchestrator.datasets.sources import CLASSES, NUM_CLASSES, Source
from workers.data.kinds import SPLITS, ClassTarget, DataShape, ImageInput
from workers.data.shard_schema import input_field
from workers.shards.shard_file import group_rows, shard_name

_PART_BYTES = 2**26
"""The most bytes of images that are read at once, for all shards together."""


class ImageCut:
    """One data set that is being cut: a pass over the images, then one over the shards."""

    def __init__(
        self,
        source: Source,
        train: StoredSplit,
        test: StoredSplit,
        num_held_out: int,
        num_shards: int,
        folder: Path,
        pool: ThreadPoolExecutor,
        tell: Tell,
    ) -> None:
        self._source, self._train, self._test = source, train, test
        self._num_shards, self._folder = num_shards, folder
        self._pool, self._tell = pool, tell
        self._kind = ImageInput(height=train.size[0], width=train.size[1], mean=0.0, std=1.0)
        held_out = slice(0, num_held_out)
        self._labels = {
            "train": train.labels[num_held_out:],
            "validation": train.labels[held_out],
            "test": test.labels,
        }
        pixels = math.prod(train.size)
        fitting = max(1, _PART_BYTES // (num_shards * pixels))
        self._group_rows = min(group_rows(pixels), 1 << (fitting.bit_length() - 1))
        self._pixel_sum = self._pixel_square_sum = self._done = 0

    @property
    def _num_rows(self) -> int:
        return sum(map(len, self._labels.values()))

    def write(self) -> None:
        """Write the shards and the manifest. Raises DataError."""
        entries = self._written(self._train, ("validation", "train"))
        entries |= self._written(self._test, ("test",))
        mean, std = self._pixel_moments()
        counts = np.bincount(self._labels["train"], minlength=NUM_CLASSES)
        shape = DataShape(
            name=self._source.name,
            fingerprint=self._fingerprint(),
            num_shards=self._num_shards,
            input=self._kind.model_copy(update={"mean": mean, "std": std}),
            target=ClassTarget(
                column="label",
                names=CLASSES[self._source.name],
                train_counts=tuple(counts.tolist()),
            ),
            train_rows=len(self._labels["train"]),
            validation_rows=len(self._labels["validation"]),
            test_rows=len(self._labels["test"]),
        )
        origin = Origin(uri=self._source.name, digest=self._source.digest)
        write_manifest(self._folder, shape, {split: entries[split] for split in SPLITS}, origin)

    def _written(
        self, source: StoredSplit, splits: tuple[str, ...]
    ) -> dict[str, list[dict[str, Any]]]:
        """Write the shards of the splits that follow each other in a source."""
        each = self._num_shards * self._group_rows
        places = [
            (split, first, min(each, len(self._labels[split]) - first))
            for split in splits
            for first in range(0, len(self._labels[split]), each)
        ]
        writers = {
            split: [self._writer(split, shard) for shard in self._shards] for split in splits
        }
        with ExitStack() as stack:
            for writer in (writer for each in writers.values() for writer in each):
                stack.callback(writer.close)
            parts = source.parts(size for _, _, size in places)
            for (split, first, size), images in zip(places, parts, strict=True):
                labels = self._labels[split][first : first + size]
                self._write_groups(writers[split], images, labels, split == "train")
                self._done += size
                self._tell("cutting images", self._done, self._num_rows)
        return {
            split: list(self._pool.map(ShardWriter.entry, each)) for split, each in writers.items()
        }

    @property
    def _shards(self) -> range:
        return range(self._num_shards)

    def _writer(self, split: str, shard: int) -> ShardWriter:
        label = pa.field("label", pa.uint8())
        schema = pa.schema([input_field(self._kind), label])
        return ShardWriter(self._folder, split, shard, self._num_shards, schema)

    def _write_groups(
        self,
        writers: list[ShardWriter],
        images: NDArray[np.uint8],
        labels: NDArray[np.uint8],
        is_counted: bool,
    ) -> None:
        """Deal rows out to the shards: to each a row group."""

        def write(shard: int) -> tuple[int, int]:
            own = np.ascontiguousarray(images[shard :: self._num_shards])
            if len(own):
                writers[shard].write_group(_table(own, labels[shard :: self._num_shards]))
            return _sums(own) if is_counted else (0, 0)

        for pixel_sum, square_sum in self._pool.map(write, self._shards):
            self._pixel_sum += pixel_sum
            self._pixel_square_sum += square_sum

    def _pixel_moments(self) -> tuple[float, float]:
        """Return mean and standard deviation of training pixels scaled to [0, 1], from exact
        integer sums."""
        total = len(self._labels["train"]) * math.prod(self._train.size)
        mean = self._pixel_sum / total
        variance = self._pixel_square_sum / total - mean * mean
        return mean / 255, math.sqrt(variance) / 255 or 1.0

    def _fingerprint(self) -> str:
        """Return a SHA-256 of all rows, shard by shard."""
        digest = hashlib.sha256()
        self._done = 0
        for split, labels in self._labels.items():
            for shard in self._shards:
                own = labels[shard :: self._num_shards]
                shape = (len(own), *self._train.size)
                digest.update(f"{split}/{shard}/{shape}".encode())
                path = self._folder / shard_name(split, shard, self._num_shards)
                for pixels in self._pixels(path):
                    digest.update(pixels.data)
                digest.update(own.tobytes())
                self._done += len(own)
                self._tell("checking images", self._done, self._num_rows)
        return digest.hexdigest()

    def _pixels(self, path: Path) -> Iterator[NDArray[np.uint8]]:
        """Return the pixels of a shard, row group by row group."""

        def read(group: int) -> NDArray[np.uint8]:
            with pq.ParquetFile(path) as file:
                (images,) = file.read_row_group(group, ["image"], use_threads=False).columns
                pixels: NDArray[np.uint8] = images.chunk(0).flatten().to_numpy()
                return pixels

        with pq.ParquetFile(path) as file:
            num_groups = file.metadata.num_row_groups
        return in_order(self._pool, read, range(num_groups))


def _sums(images: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the sum of the pixels and of their squares."""
    squares = np.square(images, dtype=np.uint16)
    return int(images.sum(dtype=np.uint64)), int(squares.sum(dtype=np.uint64))


def _table(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> pa.Table:
    pixels = images.shape[1] * images.shape[2]
    flat = pa.array(images.reshape(-1), pa.uint8())
    return pa.table(
        {"image": pa.FixedSizeListArray.from_arrays(flat, pixels), "label": pa.array(labels)}
    )
