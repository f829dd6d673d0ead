"""Rows of a Parquet file in blocks: each row once, in order, whatever the row groups are."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.datasets.tables.files import find_tables
from orchestrator.datasets.tables.unlabelled import BlockReader, RowBlock, TableBlocks
from tests.unit.datasets.tables.made import sequences, write
from tests.unit.workers.data import data_sets
from workers.data.kinds import DataShape, ImageInput
from workers.errors import DataError

NUM_ROWS = 1000
TWO = data_sets.VECTORS.model_copy(update={"num_features": 2, "mean": (0, 0), "std": (1, 1)})
SHAPE = data_sets.shape_of(TWO, data_sets.CLASSES)


def opened(path: Path, shape: DataShape = SHAPE) -> TableBlocks:
    tables = find_tables(str(path))
    [file] = tables.files
    return TableBlocks(tables, file, shape, "id", file.name)


def rows_of(blocks: list[RowBlock]) -> list[list[float]]:
    return [row for block in blocks for row in block.inputs.to_pylist()]


@pytest.mark.parametrize("row_group", [7, 64, 1000])
def test_blocks_have_a_fixed_number_of_rows_whatever_the_row_groups(
    tmp_path: Path, row_group: int
) -> None:
    table = {"x": sequences(NUM_ROWS), "extra": [None] * NUM_ROWS, "id": range(NUM_ROWS)}
    write(tmp_path / "a.parquet", pa.table(table), row_group_size=row_group)
    file = opened(tmp_path / "a.parquet")
    blocks = list(file.blocks(64))
    assert [len(block.inputs) for block in blocks] == [64] * 15 + [40]
    assert [n for block in blocks for n in block.rows.to_pylist()] == list(range(NUM_ROWS))
    assert [n for block in blocks for n in (block.ids or ()).to_pylist()] == list(range(NUM_ROWS))
    wanted = [np.concatenate(row).tolist() for row in table["x"]]
    assert rows_of(blocks) == wanted
    assert rows_of(list(file.blocks(64, first_row=9 * 64))) == wanted[9 * 64 :]
    reader = BlockReader(file, 64, 64)
    reader.read()
    reader.skip_to(7 * 64)
    block = reader.read()
    assert block is not None and block.rows.to_pylist() == list(range(7 * 64, 8 * 64))
    reader.skip_to(15 * 64)
    assert rows_of([block for block in (reader.read(), reader.read()) if block]) == wanted[960:]


def test_a_file_of_large_rows_has_small_blocks(tmp_path: Path) -> None:
    large = np.random.default_rng(0).normal(size=(40, 2 * 2**17)).tolist()
    write(tmp_path / "a.parquet", pa.table({"x": large}))
    one = data_sets.VECTORS.model_copy(update={"num_features": 1, "mean": (0,), "std": (1,)})
    file = opened(tmp_path / "a.parquet", data_sets.shape_of(one, data_sets.CLASSES))
    assert 1 <= file.block_rows(1024) < 40


def test_an_error_names_the_row_of_the_file(tmp_path: Path) -> None:
    rows = sequences(300)
    rows[200] = [[1.0, 2.0], [1.0]]
    write(tmp_path / "a.parquet", {"x": rows})
    with pytest.raises(DataError, match=r"width 1 in row 200 \(from 0\) of a.parquet"):
        list(opened(tmp_path / "a.parquet").blocks(64))
    write(tmp_path / "b.parquet", {"x": sequences(3, num_features=3)})
    with pytest.raises(DataError, match="width 3 in row 0"):
        list(opened(tmp_path / "b.parquet").blocks(64))
    write(tmp_path / "c.parquet", {"xs": sequences(3)})
    with pytest.raises(DataError, match="no column 'x'"):
        opened(tmp_path / "c.parquet")


def test_ids_are_integers_or_texts(tmp_path: Path) -> None:
    for number, (ids, kind) in enumerate(
        [
            (pa.array([1, 2], pa.uint8()), pa.int64()),
            (pa.array(["a", "b"]).dictionary_encode(), pa.string()),
            (pa.array([0.5, 1.5]), pa.string()),
            (pa.array([[1], [2]]), None),
        ]
    ):
        table = pa.table({"x": sequences(2), "id": ids})
        file = opened(write(tmp_path / f"{number}.parquet", table))
        assert file.id_type == kind
        [block] = file.blocks(64)
        assert (block.ids is None) == (kind is None)


def test_images_are_lists_of_pixels(tmp_path: Path) -> None:
    shape = data_sets.shape_of(ImageInput(height=2, width=3), data_sets.CLASSES)
    path = write(tmp_path / "a.parquet", {"image": [[0, 1, 2, 3, 4, 255]] * 3})
    [block] = opened(path, shape).blocks(64)
    assert block.inputs.to_pylist() == [[0, 1, 2, 3, 4, 255]] * 3
    for bad, cause in {
        "short": ([0, 1], "has 2 pixels in row 1"),
        "high": ([0, 1, 2, 3, 4, 256], "256"),
        "null": ([0, 1, 2, 3, 4, None], "null"),
    }.values():
        write(path, {"image": [[0, 1, 2, 3, 4, 5], bad]})
        with pytest.raises(DataError, match=cause):
            list(opened(path, shape).blocks(64))
