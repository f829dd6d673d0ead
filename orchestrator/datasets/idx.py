"""Read the idx format, in which MNIST and similar data sets are published.

A file is plain or gzipped. It holds two zero bytes, a type byte (0x08: unsigned byte), a byte with
the number of dimensions, the size of each dimension as 4 big-endian bytes, then the values in
row-major order (the last dimension varies fastest).
"""

import gzip
import io
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

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


def read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an idx file of unsigned bytes.

    Raises:
        DataError: the file is missing, has another format, is truncated or too long.
    """
    stream = _open(path)
    header = _read(path, stream, 4 + 4 * num_dimensions)
    magic = header[:4]
    expected = bytes([0, 0, _UNSIGNED_BYTE, num_dimensions])
    if magic != expected:
        raise DataError(
            f"{path} has the magic number 0x{magic.hex()}, not 0x{expected.hex()}: "
            f"it is not an idx file of bytes in {num_dimensions} dimensions",
            _CURE,
        )
    size = 4 + 4 * num_dimensions
    if len(header) < size:
        raise DataError(
            f"{path} is truncated: it has {len(header)} bytes, but its header alone has {size}",
            _CURE,
        )
    shape = struct.unpack(f">{num_dimensions}I", header[4:])
    wanted = math.prod(shape)
    data = _read(path, stream, wanted + 1)
    promised = f"{size + wanted:,} bytes that its header promises"
    if len(data) < wanted:
        raise DataError(f"{path} is truncated: {size + len(data):,} of the {promised}", _CURE)
    if len(data) > wanted:
        raise DataError(f"{path} is too long: it has more than the {promised}", _CURE)
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", _CURE) from error


def _open(path: Path) -> gzip.GzipFile | io.BytesIO:
    data = read_bytes(path)
    stream = io.BytesIO(data)
    return gzip.GzipFile(fileobj=stream) if data[:2] == b"\x1f\x8b" else stream


def _read(path: Path, stream: gzip.GzipFile | io.BytesIO, max_bytes: int) -> bytes:
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
    return bytes(data)


def read_split(images_path: Path, labels_path: Path) -> Split:
    """Return images and their labels. Raises DataError if their numbers differ or are zero."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images, "
            f"but {labels_path.name} {len(labels):,} labels",
            "take both files from the same data set",
        )
    if images.size == 0:
        raise DataError(f"{images_path} holds no images", _CURE)
    return Split(images, labels)
