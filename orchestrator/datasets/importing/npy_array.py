"""Read the arrays of an NPZ file a part at a time, without pickle.

An NPZ file is a ZIP archive of files in numpy's format NPY: a header with shape and type, then the
numbers. A header may promise anything, so no more memory is taken than is read.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from orchestrator.datasets.importing.sequences import check_is_file
from workers.errors import DataError

_PART_BYTES = 2**24
_MAX_COMPRESSION = 1100
"""What a byte of a ZIP archive unfolds to at most: deflate's limit is 1032."""
_CURE = "write the file again: numpy.savez"


@dataclass(frozen=True)
class NpyArray:
    """One array of an NPZ file. Its numbers are read when they are asked for."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @property
    def row_bytes(self) -> int:
        """The size of one entry of the first axis."""
        return max(1, self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=object)))

    def rows(self) -> Iterator[NDArray[np.generic]]:
        """Yield the array in parts along its first axis. Raises DataError."""
        num_rows = max(1, _PART_BYTES // self.row_bytes)
        with (
            _explained(self.path),
            zipfile.ZipFile(self.path) as archive,
            archive.open(f"{self.name}.npy") as stream,
        ):
            _read_header(stream)
            for start in range(0, self.shape[0], num_rows):
                yield self._part(stream, min(num_rows, self.shape[0] - start))

    def _part(self, stream: IO[bytes], count: int) -> NDArray[np.generic]:
        data = stream.read(count * self.row_bytes)
        if len(data) < count * self.row_bytes:
            raise DataError(f"{self.path}: the array '{self.name}' is truncated", _CURE)
        part = np.frombuffer(data, self.dtype).reshape(count, *self.shape[1:])
        return part.astype(self.dtype.newbyteorder("="), copy=False)

    def read(self) -> NDArray[np.generic]:
        """Return the whole array. Raises DataError."""
        return np.concatenate([np.empty((0, *self.shape[1:]), self.dtype), *self.rows()])


def open_npz(path: Path) -> dict[str, NpyArray]:
    """Return the arrays of an NPZ file by name. Only their headers are read.

    Raises DataError: the file is damaged, or an array holds objects, which only pickle can read.
    """
    check_is_file(path)
    arrays = {}
    with _explained(path), zipfile.ZipFile(path) as archive:
        for file in archive.namelist():
            with archive.open(file) as stream:
                shape, is_fortran, dtype = _read_header(stream)
            array = NpyArray(path, file.removesuffix(".npy"), shape, dtype)
            arrays[array.name] = _checked(array, is_fortran)
            _check_size(array, archive.getinfo(file))
    if not arrays:
        raise DataError(f"{path} holds no arrays", _CURE)
    return arrays


def _checked(array: NpyArray, is_fortran: bool) -> NpyArray:
    what = f"the array '{array.name}' of {array.path}"
    if array.dtype.hasobject:
        raise DataError(
            f"{what} holds objects, which could run code when they are read",
            "save sequences of different lengths as all their time steps and their lengths: "
            "numpy.savez(file, values=numpy.concatenate(rows), lengths=[len(row) for row in rows])",
        )
    if array.dtype.kind not in "biufU" or (array.dtype.itemsize > 8 and array.dtype.kind == "f"):
        raise DataError(
            f"{what} has the type {array.dtype}, which holds neither numbers nor text",
            "convert it: array.astype('float32')",
        )
    if is_fortran and len(array.shape) > 1:
        raise DataError(
            f"{what} is in Fortran order, which cannot be read row by row",
            "save it in C order: numpy.ascontiguousarray",
        )
    return array


def _check_size(array: NpyArray, file: zipfile.ZipInfo) -> None:
    """Raise DataError if there cannot be as many numbers as the header promises."""
    promised = array.dtype.itemsize * int(np.prod(array.shape, dtype=object))
    if promised > min(file.file_size, file.compress_size * _MAX_COMPRESSION):
        raise DataError(f"{array.path}: the array '{array.name}' is truncated", _CURE)


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, is_fortran, dtype = read(stream)
    return shape, is_fortran, dtype


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise errors of reading a file as DataError."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", "name an NPZ file that can be read"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, RuntimeError,
            NotImplementedError) as error:  # fmt: skip
        reason = str(error).strip().splitlines() or [repr(error)]
        raise DataError(f"{path} is no NPZ file, or damaged: {reason[0][:200]}", _CURE) from error
