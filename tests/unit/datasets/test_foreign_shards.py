"""A cut data set from a storage is read within the limits that its manifest sets."""

import hashlib
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from tests.unit.datasets.idx_files import write_idx_files
from tests.unit.simulated import tiny_shape
from workers.errors import DataError
from workers.shards.shard_file import ShardSize, footer_sha256, max_bytes, open_shard
from workers.storage.storage import Storage

SHARD = "train-00000-of-00004.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cut data set, beside which lies what must not be touched."""
    write_idx_files(tmp_path / "data")
    data = prepare("mnist", tmp_path / "data", num_shards=4, cache=tmp_path / "cache")
    assert data.folder.local_path
    data.folder.local_path.rename(tmp_path / "cut")
    return tmp_path / "cut"


def sparse(path: Path) -> None:
    with open(path, "r+b") as file:
        file.truncate(3 * 2**30)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.rename(path.parent.parent / "mine")
    path.symlink_to(path.parent.parent / "mine")


HARM: dict[str, Callable[[Path], None]] = {
    r"has 3,221,225,472 bytes, and no more than": sparse,
    "is a named pipe, not a file": pipe,
    "leads out of .*cut, through a symbolic link": link,
}


def refused_by(data: PreparedData) -> None:
    data.verify()
    data.table("train", 0)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("cause", HARM)
@pytest.mark.parametrize("name", [SHARD, "manifest.json"])
def test_a_file_that_is_not_what_was_cut_is_refused(folder: Path, cause: str, name: str) -> None:
    HARM[cause](folder / name)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=cause):
            refused_by(open_prepared(Storage(str(folder))))
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def zeros(rows: int, pixels: int) -> bytes:
    """Return a Parquet file of so many rows of black pixels. Such rows take hardly any room."""
    flat = pa.array(np.zeros(rows * pixels, np.uint8))
    images = pa.FixedSizeListArray.from_arrays(flat, pixels)
    table = pa.table({"image": images, "label": pa.array(np.zeros(rows, np.uint8))})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def varint(number: int, num_bytes: int) -> bytes:
    """Return a number as Thrift's compact protocol writes it, in more bytes than needed."""
    groups = [number * 2 >> 7 * place & 0x7F for place in range(num_bytes)]
    return bytes([*(group | 0x80 for group in groups[:-1]), groups[-1]])


def put_shard(folder: Path, data: bytes) -> None:
    """Replace a shard and its hash in the manifest."""
    (folder / SHARD).write_bytes(data)
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["shards"]["train"][0]
    entry["sha256"] = hashlib.sha256(data).hexdigest()
    entry["footer_sha256"] = footer_sha256(io.BytesIO(data))
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("is_honest", [True, False], ids=["says so", "does not say so"])
def test_a_small_file_that_unfolds_to_millions_of_pixels_is_refused(
    folder: Path, is_honest: bool
) -> None:
    shape = open_prepared(Storage(str(folder))).shape
    pixels, rows, wanted = shape.input.height * shape.input.width, 2_000_000, 14
    data = zeros(rows, pixels)
    if not is_honest:
        # The number of rows of the whole file is the first number of 64 bits in its last part.
        place = data.rindex(b"\x16" + varint(rows, 4), 0, data.rindex(b"PAR1"))
        data = data[: place + 1] + varint(wanted, 4) + data[place + 5 :]
        assert pq.ParquetFile(io.BytesIO(data)).metadata.num_rows == wanted
    put_shard(folder, data)
    assert len(data) < 2**16
    what = f"{rows} rows, not {wanted}" if is_honest else f"{rows * (pixels + 1)} values, not "
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match=what):
        refused_by(open_prepared(Storage(str(folder))))
    assert pa.total_allocated_bytes() - before < 2**20


@given(
    st.integers(0, 300), st.integers(1, 30), st.integers(1, 30), st.sampled_from(["NONE", "zstd"])
)
@settings(max_examples=40)
def test_no_shard_that_we_cut_comes_near_the_limit(
    rows: int, height: int, width: int, compression: str
) -> None:
    shape = tiny_shape(height=height, width=width, num_shards=1, train_rows=max(1, rows))
    flat = np.random.default_rng(0).integers(0, 256, rows * height * width, np.uint8)
    images = pa.FixedSizeListArray.from_arrays(pa.array(flat), height * width)
    table = pa.table({"image": images, "label": pa.array(np.zeros(rows, np.uint8))})
    file = io.BytesIO()
    pq.write_table(table, file, compression=compression)
    assert len(file.getvalue()) < max_bytes(shape, ShardSize(rows, 0)) / 1.5
    open_shard(file.getvalue(), shape, ShardSize(rows, 0))
