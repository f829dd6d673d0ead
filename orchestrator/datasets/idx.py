"""Read the idx format, in which MNIST and similar data sets are published.

A file is plain or gzipped. It holds two zero bytes, a type byte (0x08: unsigned byte), a byte with
the number of dimensions, the size of each dimension as 4 big-endian bytes, then the values in
row-major order (the last dimension varies fastest).
"""

import contextlib
import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from workers.errors import DataError

_UNSIGNED_BYTE = 0x08
_CHUNK_BYTES = 2**20
_CURE = "replace the file with a complete copy, or name another folder: --data-dir"


@dataclass(frozen=True)
class Split:
    """The images (N, H, W) and labels (N) of one split, both uint8."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


@dataclass(frozen=True)
class StoredSplit:
    """One split, of which all labels are in memory, but only some images at a time."""

    size: tuple[int, int]
    """The height and the width of an image."""
    labels: NDArray[np.uint8]
    parts: Callable[[Iterable[int]], Iterator[NDArray[np.uint8]]]
    """Takes the sizes of all parts, one after the other. Returns their images. Raises DataError."""

    def read(self) -> Split:
        """Return the whole split. Raises DataError."""
        (images,) = self.parts([len(self.labels)])
        return Split(images, self.labels)


class IdxFile:
    """An idx file of unsigned bytes that is open, so that its rows can be read a part at a time."""

    def __init__(self, path: Path, stream: BinaryIO, num_dimensions: Sequence[int]) -> None:
        """Read the header. Raises DataError if it is not that of so many dimensions."""
        self._path, self._stream = path, stream
        magic = _read(path, stream, 4)
        expected = [bytes([0, 0, _UNSIGNED_BYTE, number]) for number in num_dimensions]
        if magic not in expected:
            numbers = " or ".join(f"0x{one.hex()}" for one in expected)
            dimensions = " or ".join(map(str, num_dimensions))
            raise DataError(
                f"{path} has the magic number 0x{magic.hex()}, not {numbers}: "
                f"it is not an idx file of bytes in {dimensions} dimensions",
                _CURE,
            )
        sizes = _read(path, stream, 4 * magic[3])
        size = 4 + 4 * magic[3]
        if len(sizes) < size - 4:
            raise DataError(
                f"{path} is truncated: it has {4 + len(sizes)} bytes, but its header alone has "
                f"{size}",
                _CURE,
            )
        self.shape: tuple[int, ...] = struct.unpack(f">{magic[3]}I", sizes)
        self._done, self._size = size, size + math.prod(self.shape)

    def read(self, num_rows: int) -> NDArray[np.uint8]:
        """Return the next rows: so many entries of the first dimension. Raises DataError."""
        wanted = num_rows * math.prod(self.shape[1:])
        data = _read(self._path, self._stream, wanted)
        self._done += len(data)
        if len(data) < wanted:
            raise DataError(
                f"{self._path} is truncated: {self._done:,} of the {self._promised}", _CURE
            )
        return np.frombuffer(data, np.uint8).reshape(num_rows, *self.shape[1:])

    def check_end(self) -> None:
        """Raise DataError if there is more behind the last row."""
        if _read(self._path, self._stream, 1):
            raise DataError(
                f"{self._path} is too long: it has more than the {self._promised}", _CURE
            )

    @property
    def _promised(self) -> str:
        return f"{self._size:,} bytes that its header promises"


@contextlib.contextmanager
def open_idx(path: Path, *num_dimensions: int) -> Iterator[IdxFile]:
    """Open an idx file of one of these numbers of dimensions. Raises DataError."""
    with contextlib.ExitStack() as stack:
        try:
            stream: BinaryIO = stack.enter_context(path.open("rb"))
            is_zipped = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
        except OSError as error:
            raise _unreadable(path, error) from error
        if is_zipped:
            stream = cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=stream)))
        yield IdxFile(path, stream, num_dimensions)


def read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an idx file of unsigned bytes.

    Raises:
        DataError: the file is missing, has another format, is truncated or too long.
    """
    with open_idx(path, num_dimensions) as file:
        array = file.read(file.shape[0])
        file.check_end()
        return array


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot read {path}: {error.strerror or error}", _CURE)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def file_sha256(path: Path) -> bytes:
    """Return the SHA-256 of a file. Raises DataError."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while part := file.read(_CHUNK_BYTES):
                digest.update(part)
    except OSError as error:
        raise _unreadable(path, error) from error
    return digest.digest()


def _read(path: Path, stream: BinaryIO, max_bytes: int) -> bytes:
    """Return the next `max_bytes` bytes of a stream, or fewer at its end.

    A damaged header may promise far too many bytes, and a zipped file may unpack to far too many.
    So no more bytes are unpacked than asked for, and no memory is allocated in advance.
    """
    data = bytearray()
    try:
        while part := stream.read(min(max_bytes - len(data), _CHUNK_BYTES)):
            data += part
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged: {error}", _CURE) from error
    except OSError as error:
        raise _unreadable(path, error) from error
    return bytes(data)


def open_split(images_path: Path, labels_path: Path) -> StoredSplit:
    """Return images and their labels. Raises DataError if their numbers differ or are zero."""
    with open_idx(images_path, 3) as file:
        number, height, width = file.shape
    labels = read_idx(labels_path, 1)
    if number != len(labels):
        raise DataError(
            f"{images_path} holds {number:,} images, but {labels_path.name} {len(labels):,} labels",
            "take both files from the same data set",
        )
    if not number * height * width:
        raise DataError(f"{images_path} holds no images", _CURE)

    def parts(sizes: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
        with open_idx(images_path, 3) as file:
            for size in sizes:
                yield file.read(size)
            file.check_end()

    return StoredSplit((height, width), labels, parts)


def read_split(images_path: Path, labels_path: Path) -> Split:
    """Return a split as a whole. Raises DataError as `open_split`."""
    return open_split(images_path, labels_path).read()
