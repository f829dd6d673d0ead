"""What cannot be trained on is refused with a line that names the column and the row."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.datasets.tables.made import cut, rows, sequences, write
from workers.errors import InputError

X = sequences(12)


def with_row(row: int, value: Any, column: list[Any] = X) -> list[Any]:
    return [value if place == row else each for place, each in enumerate(column)]


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "no list column": ({"x": [1.0] * 12}, {}, "no column holds lists .* x .double.", "data import"),
    "two list columns": ({"z": X}, {}, "2 columns hold lists: x, z", "--inputs x"),
    "two targets": ({"z": [1] * 12}, {}, "2 columns can be the target: y, z", "--target y"),
    "ragged": (
        {"x": with_row(5, [[1.0]])},
        {},
        r"column 'x' has a time step of width 1 in row 5 .from 0. of a.parquet, and of width 2",
        "same number of features",
    ),
    "empty": ({"x": with_row(7, [])}, {}, "'x' has an empty sequence in row 7 ", "leave the row"),
    "null": ({"x": with_row(7, None)}, {}, "'x' is null in row 7 ", "leave the row"),
    "a null number": (
        {"x": with_row(3, [[1.0, None]])},
        {},
        "'x' has a value null in row 3 ",
        "dataset.missing=zero",
    ),
    "NaN": ({"x": with_row(3, [[1.0, float("nan")]])}, {}, "value NaN in row 3 ", "missing=zero"),
    "infinity": ({"x": with_row(3, [[1.0, float("inf")]])}, {}, "value inf in row 3 ", "missing"),
    "too large": (
        {"x": with_row(3, [[1.0, 1e300]])},
        {"missing": "zero"},
        "1e.300 in row 3",
        "scale",
    ),
    "a null step": ({"x": with_row(3, [None])}, {"missing": "zero"}, "null in row 3", "leave"),
    "unequal": (
        {"x": [[1.0, 2.0]] * 12, "z": with_row(4, [1.0], [[1.0, 2.0]] * 12)},
        {"inputs": ["x", "z"]},
        "'z' has the length 1 and 'x' the length 2 in row 4 ",
        "equally long",
    ),
    "too long": (
        {"x": with_row(2, [[0.0, 0.0]] * 9)},
        {"max_length": 8},
        "'x' has 9 time steps in row 2 .* above max_length 8",
        "truncate=head",
    ),
    "one class": ({"y": ["a"] * 12}, {}, "'y' is 'a' in all 6 training rows", "--target"),
    "a new class": (
        {"y": with_row(7, "new", rows()["y"])},
        {},
        r"'y' is 'new' in row 7 .from 0. of a.parquet .test., a class that no training row has",
        "leave the row out",
    ),
    "a null target": ({"y": with_row(9, None, rows()["y"])}, {}, "'y' is null in row 9 ", "leave"),
    "a NaN target": (
        {"y": with_row(9, float("nan"), [0.5] * 12)},
        {},
        "the target 'y' is NaN in row 9 ",
        "finite",
    ),
    "no class": (
        {"y": [0.5] * 12},
        {"task": "classification"},
        "'y' is 0.5 in row 0",
        "regression",
    ),
    "no number": ({}, {"task": "regression"}, "'y' holds texts", "classification"),
    "unknown": ({}, {"target": "Yy"}, "no column 'Yy' .*--target", "did you mean 'y'?"),
    "far off": ({}, {"inputs": ["nowhere"]}, "no column 'nowhere'", "columns: x, y, split"),
    "no list": ({}, {"inputs": ["y"], "target": "split"}, "'y' is string, no list", "--inputs"),
    "input and target": ({}, {"target": "x"}, "both an input and the target|no text", "--target"),
    "odd split": (
        {"split": with_row(3, "holdout", rows()["split"])},
        {},
        "'split' is 'holdout' in row 3 ",
        "train, validation, test",
    ),
    "no test": (
        {"split": ["train"] * 11 + ["validation"]},
        {"test_fraction": 0},
        "the test split is empty",
        "test_fraction",
    ),
    "fractions": (
        {"split": ["train"] * 12},
        {"test_fraction": 0.6, "validation_fraction": 0.4},
        "0.6 and 0.4 leave no training rows",
        "lower",
    ),
    "a group in two splits": (
        {"who": ["p", "q"] * 6},
        {"group": "who", "target": "y"},
        "group 'p' is in two splits: validation in row 2 .*, train in row 0 ",
        "one split",
    ),
    "a null id": (
        {"split": [1] * 12, "id": with_row(5, None, list(range(12)))},
        {"id": "id", "target": "y"},
        "'id' is null in row 5 ",
        "give each row a value",
    ),
    "dates": ({"y": pa.array([1] * 12, pa.date32())}, {}, "no column can be the target", "add"),
    "rare tokens": ({"x": [["a"]] * 12}, {"min_count": 99}, "no token .* is 99 times", "min_count"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused(tmp_path: Path, name: str) -> None:
    columns, options, cause, cure = BAD[name]
    path = write(tmp_path / "a.parquet", rows(**columns), row_group_size=4)
    with pytest.raises(InputError, match=cause) as caught:
        cut(path, **options)
    assert cure in caught.value.cure


def test_texts_as_numbers_and_numbers_as_tokens_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows())
    with pytest.raises(InputError, match="embedding_size needs tokens"):
        cut(path, as_tokens=True)


def test_more_shards_than_rows_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows())
    with pytest.raises(InputError, match="6 training rows do not fill 8 shards") as caught:
        cut(path, num_shards=8)
    assert "dataset.num_shards" in caught.value.cure


def test_files_with_other_columns_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "d" / "a.parquet", rows())
    write(tmp_path / "d" / "b.parquet", rows(y=list(range(12))))
    with pytest.raises(InputError, match=r"'y' is int64 in b.parquet, and string in a.parquet"):
        cut(tmp_path / "d")
    write(tmp_path / "d" / "b.parquet", {"x": X, "split": rows()["split"]})
    with pytest.raises(InputError, match=r"'y' is missing in b.parquet"):
        cut(tmp_path / "d")


def test_files_may_differ_in_what_means_the_same(tmp_path: Path) -> None:
    integers = [[row % 5, 2] for row in range(12)]
    usual = rows(x=integers)
    write(tmp_path / "d" / "a.parquet", usual)
    write(tmp_path / "d" / "b.parquet", rows(x=pa.array(integers, pa.list_(pa.float32()))))
    write(tmp_path / "e" / "a.parquet", usual)
    write(tmp_path / "e" / "b.parquet", usual)
    assert cut(tmp_path / "d").shape.fingerprint == cut(tmp_path / "e").shape.fingerprint


def test_what_is_no_parquet_file_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows())
    whole = path.read_bytes()
    for content in (b"", b"x,y\n1,2\n", whole[:-10], whole[:400] + bytes(200) + whole[600:]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"cannot read {path}: ") as caught:
            cut(path)
        assert "\n" not in caught.value.cause and caught.value.cure
