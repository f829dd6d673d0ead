"""The idx format of MNIST and its kin.

Big-endian: two zero bytes, a type byte (0x08: unsigned byte), the number of dimensions, each
dimension as 4 bytes, then the values, last dimension fastest. Plain or gzipped.
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
_CURE = "replace the file with a whole copy, or name another folder: --data-dir"


@dataclass(frozen=True)
class Split:
    """Images (N, H, W) uint8 and labels (N) uint8."""

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """The array of an idx file of unsigned bytes.

    Raises:
        DataError: the file is missing, of another format, truncated or too long.
    """
    stream = _opened(path)
    header = _read(path, stream, 4 + 4 * num_dimensions)
    magic = header[:4]
    expected = bytes([0, 0, _UNSIGNED_BYTE, num_dimensions])
    if magic != expected:
        raise DataError(
            f"{path} has the magic number 0x{magic.hex()}, not 0x{expected.hex()}: "
            f"it is no idx file of {num_dimensions} dimensions of bytes",
            _CURE,
        )
    size = 4 + 4 * num_dimensions
    if len(header) < size:
        raise DataError(f"{path} is truncated: {len(header)} bytes, its header has {size}", _CURE)
    shape = struct.unpack(f">{num_dimensions}I", header[4:])
    wanted = math.prod(shape)
    data = _read(path, stream, wanted + 1)
    promise = f"its header promises {size + wanted:,}"
    if len(data) < wanted:
        raise DataError(f"{path} is truncated: {size + len(data):,} bytes, {promise}", _CURE)
    if len(data) > wanted:
        raise DataError(f"{path} is too long: there are more bytes, {promise}", _CURE)
    return np.frombuffer(data, np.uint8).reshape(shape)


def read_bytes(path: Path) -> bytes:
    """Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", _CURE) from error


def _opened(path: Path) -> gzip.GzipFile | io.BytesIO:
    data = read_bytes(path)
    stream = io.BytesIO(data)
    return gzip.GzipFile(fileobj=stream) if data[:2] == b"\x1f\x8b" else stream


def _read(path: Path, stream: gzip.GzipFile | io.BytesIO, most: int) -> bytes:
    """So many bytes, or all that there are: no more is unpacked than was asked for, and no memory
    taken for what is only promised."""
    data = bytearray()
    try:
        while part := stream.read(min(most - len(data), _CHUNK_BYTES)):
            data += part
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is truncated or damaged: {error}", _CURE) from error
    return bytes(data)


def read_split(images_path: Path, labels_path: Path) -> Split:
    """Images with their labels. Raises DataError where their numbers differ, or are zero."""
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{images_path} holds {len(images):,} images, "
            f"{labels_path.name} {len(labels):,} labels",
            "take both files from the same data set",
        )
    if images.size == 0:
        raise DataError(f"{images_path} holds no images", _CURE)
    return Split(images, labels)
