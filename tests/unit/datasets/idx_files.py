"""Write idx files like those of MNIST."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
Array = NDArray[np.uint8]


def idx_bytes(array: Array) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def random_split(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Return images of 4 by 3 pixels and labels. The first two pixels hold the row's number."""
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (rows, 4, 3), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.arange(rows) % 256, np.arange(rows) // 256
    return images, draw.integers(0, 10, rows, dtype=np.uint8)


def write_idx_files(
    folder: Path, train_rows: int = 61, test_rows: int = 17, zipped: bool = False, seed: int = 0
) -> tuple[Array, Array, Array, Array]:
    """Write all four files. Returns the arrays in them."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*random_split(train_rows, seed), *random_split(test_rows, seed + 1))
    for name, array in zip(NAMES, arrays, strict=True):
        data = idx_bytes(array)
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
        else:
            (folder / name).write_bytes(data)
    return arrays
