"""A shard becomes one table of Ray Data and is read back, in whatever order its rows come."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.simulated import tiny_job, tiny_loader, tiny_shape
from workers.config import SPLITS, DataShape
from workers.data.rows import Rows, ShardData
from workers.errors import DataError
from workers.ray_worker import shard_table, split_table

SHAPE = tiny_shape()


def table_of(rows: Rows, shape: DataShape) -> pa.Table:
    """Return rows as a table in the form of a prepared shard."""
    pixels = shape.input.height * shape.input.width
    images = pa.FixedSizeListArray.from_arrays(
        pa.array(rows.inputs.numpy().reshape(-1), pa.uint8()), pixels
    )
    labels = pa.array(rows.targets_N.numpy(), pa.uint8())
    return pa.table({"image": images, "label": labels})


def whole_table(shard: int, shape: DataShape = SHAPE) -> pa.Table:
    data = tiny_loader(shape)(shard)
    return shard_table({split: table_of(data[split], shape) for split in SPLITS})


def split(table: pa.Table, shard: int, shape: DataShape = SHAPE) -> ShardData:
    return split_table(table, tiny_job(Path("run"), data=shape), shard)


def assert_is_shard(data: ShardData, shard: int, shape: DataShape = SHAPE) -> None:
    wanted = tiny_loader(shape)(shard)
    assert set(data) == set(SPLITS)
    for name in SPLITS:
        assert torch.equal(data[name].inputs, wanted[name].inputs)
        assert torch.equal(data[name].targets_N, wanted[name].targets_N)


def test_a_table_holds_each_split_in_order() -> None:
    table = whole_table(1)
    assert table.column_names == ["image", "label", "split", "position"]
    assert table["split"].to_pylist() == [0] * 7 + [1] * 2 + [2] * 3
    assert table["position"].to_pylist() == [*range(7), *range(2), *range(3)]
    assert table["image"].num_chunks == 1


@given(draws=st.data(), shard=st.integers(0, SHAPE.num_shards - 1))
def test_a_shard_is_read_back_from_any_order_and_any_batches_of_its_rows(
    draws: st.DataObject, shard: int
) -> None:
    table = whole_table(shard)
    order = draws.draw(st.permutations(range(len(table))))
    cuts = draws.draw(st.lists(st.integers(0, len(table)), max_size=5))
    shuffled = table.take(pa.array(order))
    edges = [0, *sorted(cuts), len(table)]
    batches = [shuffled.slice(a, b - a) for a, b in pairwise(edges)]
    assert_is_shard(split(pa.concat_tables(batches), shard), shard)


def test_a_shard_with_an_empty_split_is_read_back() -> None:
    """With more shards than validation rows, some shards have no validation rows."""
    shape = tiny_shape(validation_rows=2)
    data = split(whole_table(3, shape), 3, shape)
    assert len(data["validation"]) == 0
    assert_is_shard(data, 3, shape)


@given(missing=st.integers(0, 11))
def test_a_missing_row_is_an_error_that_counts_the_rows(missing: int) -> None:
    table = whole_table(1)
    name = SPLITS[table["split"][missing].as_py()]
    expected = {"train": 7, "validation": 2, "test": 3}[name]
    keep = [row for row in range(len(table)) if row != missing]
    with pytest.raises(DataError) as caught:
        split(table.take(pa.array(keep)), 1)
    assert caught.value.cause == (
        f"shard 1 of tiny arrived damaged: {expected - 1} {name} rows, expected {expected}"
    )


@pytest.mark.parametrize("harm", ["a row twice", "a row in the place of another", "no rows"])
def test_rows_that_do_not_make_up_the_shard_are_an_error(harm: str) -> None:
    table = whole_table(0)
    order: dict[str, Any] = {
        "a row twice": [*range(len(table)), 0],
        "a row in the place of another": [1, *range(1, len(table))],
        "no rows": [],
    }
    with pytest.raises(DataError, match="shard 0 of tiny arrived damaged: "):
        split(table.take(pa.array(order[harm], pa.int64())), 0)


def test_the_table_of_another_shard_with_fewer_rows_is_an_error() -> None:
    with pytest.raises(
        DataError, match="shard 0 of tiny arrived damaged: 6 train rows, expected 7"
    ):
        split(whole_table(3), 0)


def test_pixels_are_read_back_as_writable_bytes() -> None:
    images = split(whole_table(2), 2)["train"].inputs
    assert images.numpy().dtype == np.uint8
    images[0] = 0
