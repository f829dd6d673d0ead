"""The fingerprint and the digest say whether data sets are the same, and in the same order."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.datasets.tables.made import cut, rows, write

N = 24
TABLE = pa.table(rows(N))


@given(
    st.lists(st.integers(1, N - 1), max_size=4, unique=True).map(sorted),
    st.sampled_from([1, 5, N]),
    st.sampled_from(["none", "zstd", "snappy"]),
    st.sampled_from([1, 2, 5]),
    st.booleans(),
)
@settings(max_examples=15)
def test_the_same_rows_in_other_files_are_the_same_data_set(
    tmp_path: Path, ends: list[int], group: int, compression: str, num_shards: int, is_single: bool
) -> None:
    usual = cut(write(tmp_path / "one" / "all.parquet", TABLE)).shape
    table = TABLE
    if is_single:
        narrow = table.column("x").cast(pa.large_list(pa.list_(pa.float32())))
        table = table.set_column(0, "x", narrow)
    folder = tmp_path / "several"
    for old in folder.glob("*"):
        old.unlink()
    bounds = [0, *ends, N]
    for number, (start, end) in enumerate(itertools.pairwise(bounds)):
        part = table.slice(start, end - start)
        write(folder / f"{number}.parquet", part, row_group_size=group, compression=compression)
    shape = cut(folder, num_shards=num_shards).shape
    assert (shape.fingerprint, shape.rows_digest) == (usual.fingerprint, usual.rows_digest)
    assert (shape.input, shape.target) == (usual.input, usual.target)


@given(st.permutations(range(N)))
@settings(max_examples=15)
def test_the_same_rows_in_another_order_are_told(tmp_path: Path, order: list[int]) -> None:
    usual = cut(write(tmp_path / "a.parquet", TABLE)).shape
    shape = cut(write(tmp_path / "b.parquet", TABLE.take(order))).shape
    assert shape.rows_digest == usual.rows_digest
    assert (shape.input, shape.target) == (usual.input, usual.target)
    splits = TABLE.column("split").to_pylist()
    in_order = all(
        [row for row in order if splits[row] == split]
        == sorted(row for row in order if splits[row] == split)
        for split in set(splits)
    )
    assert (shape.fingerprint == usual.fingerprint) == in_order


def changed_value(columns: dict[str, Any]) -> None:
    columns["x"][0][0][0] += 1.0


def changed_target(columns: dict[str, Any]) -> None:
    columns["y"][0] = "yes"


def changed_split(columns: dict[str, Any]) -> None:
    columns["split"][0] = "test"


def split_step(columns: dict[str, Any]) -> None:
    columns["x"] = [[[value] for step in row for value in step] for row in columns["x"]]


def test_any_other_row_makes_another_data_set(tmp_path: Path) -> None:
    usual = cut(write(tmp_path / "a.parquet", TABLE)).shape
    for number, change in enumerate((changed_value, changed_target, changed_split, split_step)):
        columns = rows(N)
        change(columns)
        shape = cut(write(tmp_path / f"{number}.parquet", columns)).shape
        assert shape.fingerprint != usual.fingerprint
        assert shape.rows_digest != usual.rows_digest


def test_a_changed_file_is_cut_again_and_a_repeat_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", TABLE)
    first = cut(path)
    again = cut(path)
    assert first.folder == again.folder
    write(path, TABLE.set_column(1, "y", pc.utf8_upper(TABLE.column("y"))))
    other = cut(path)
    assert other.folder != first.folder and other.shape.fingerprint != first.shape.fingerprint
    assert cut(path, max_length=9).folder != other.folder
    assert cut(path, num_shards=2).folder != other.folder


def test_every_row_is_in_one_shard(tmp_path: Path) -> None:
    """Row i of a split is in shard i mod S, in the order of the table."""
    path = write(
        tmp_path / "a.parquet", rows(N, y=[float(row) for row in range(N)]), row_group_size=5
    )
    data = cut(path, num_shards=3)
    train = [float(row) for row in range(N) if row % 4 < 2]
    found = [data.table("train", shard).column("target").to_pylist() for shard in range(3)]
    assert found == [train[shard::3] for shard in range(3)]
    assert np.mean(train) == data.shape.target.mean  # type: ignore[union-attr]
