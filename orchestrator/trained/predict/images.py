"""Pictures, and idx files of images, as rows for a model that reads images. N images."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.datasets.idx import open_idx, read_bytes
from orchestrator.datasets.tables.unlabelled import RowBlock, block_of
from orchestrator.trained.predict.sources import INVERTED, Notes
from workers.data.kinds import ImageInput
from workers.data.shard_schema import input_field
from workers.errors import DataError


class PictureSource:
    """PNG and JPEG files, one row each. Many are read as one block, which a model computes faster
    than many blocks of one row."""

    id_type: pa.DataType | None = None

    def __init__(
        self, paths: Sequence[str], kind: ImageInput, invert: bool | None, notes: Notes
    ) -> None:
        self.num_rows: int | None = len(paths)
        self._paths, self._kind, self._invert, self._notes = paths, kind, invert, notes

    def blocks(self, block_rows: int) -> Iterator[RowBlock]:
        for first in range(0, len(self._paths), block_rows):
            paths = self._paths[first : first + block_rows]
            images_NHW = np.stack([self._image(path) for path in paths])
            yield RowBlock(
                pa.array(paths, pa.string()),
                pa.array([0] * len(paths), pa.int64()),
                _column(images_NHW, self._kind),
            )

    def _image(self, path: str) -> NDArray[np.uint8]:
        from workers.data.pictures import read_picture

        picture = read_picture(read_bytes(Path(path)), path, self._kind, self._invert)
        dark = "" if self._invert else ", since their border is bright (--no-invert)"
        for what, was_done in {
            "pictures whose colours became grey": picture.was_colour,
            f"pictures resized to {_size(self._kind)}": picture.was_resized,
            f"pictures inverted{dark}": picture.was_inverted,
        }.items():
            if was_done:
                self._notes.counts[what] += 1
        return np.asarray(picture.image_HW.numpy())


class IdxSource:
    """An idx file of images. They are taken as they are, but for another size."""

    id_type: pa.DataType | None = None

    def __init__(self, path: str, kind: ImageInput, invert: bool | None, notes: Notes) -> None:
        self._path, self._kind, self._invert, self._notes = Path(path), kind, invert, notes
        with open_idx(self._path, 3) as file:
            self.num_rows: int | None = file.shape[0]

    def blocks(self, block_rows: int) -> Iterator[RowBlock]:
        with open_idx(self._path, 3) as file:
            num_rows = file.shape[0]
            for first in range(0, num_rows, block_rows):
                images_NHW = file.read(min(block_rows, num_rows - first))
                column = _column(self._fitted(images_NHW), self._kind)
                yield block_of(str(self._path), first, column)
            file.check_end()

    def _fitted(self, images_NHW: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._invert:
            self._notes.counts[INVERTED] += len(images_NHW)
            images_NHW = 255 - images_NHW
        if images_NHW.shape[1:] == (self._kind.height, self._kind.width):
            return images_NHW
        if 0 in images_NHW.shape:
            raise DataError(f"the images of {self._path} have no pixels", "name another file")
        import torch

        from workers.data.pictures import resized

        self._notes.counts[f"images resized to {_size(self._kind)}"] += len(images_NHW)
        images = resized(torch.from_numpy(np.array(images_NHW)), self._kind)
        return np.asarray(images.round().clamp(0, 255).byte().numpy())


def _column(images_NHW: NDArray[np.uint8], kind: ImageInput) -> pa.Array:
    pixels = pa.array(np.ascontiguousarray(images_NHW).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(pixels, type=input_field(kind).type)


def _size(kind: ImageInput) -> str:
    return f"{kind.width} by {kind.height} pixels"
