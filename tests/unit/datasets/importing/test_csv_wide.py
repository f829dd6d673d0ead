"""CSV with one row for each sequence."""

import math
from pathlib import Path

import pytest

from orchestrator.datasets.importing.csv_columns import CsvOptions
from orchestrator.datasets.importing.csv_wide import read_wide
from tests.unit.datasets.importing.files import csv_files, wide_rows, written
from workers.errors import DataError


def test_all_other_columns_are_the_time_steps(tmp_path: Path) -> None:
    rows = wide_rows(tmp_path, "id,target,split,a,b\n01,x,train,1,2\n02,y,test,3,4.5\n")
    assert rows == [
        {"id": "01", "inputs": [1, 2], "target": "x", "split": "train"},
        {"id": "02", "inputs": [3, 4.5], "target": "y", "split": "test"},
    ]


def test_a_prefix_names_the_columns_of_a_feature(tmp_path: Path) -> None:
    text = "x_0,x_1,y_0,y_1,other\n1,2,3,4,no\n5,6,7,8,no\n"
    sequences = read_wide(csv_files(tmp_path, text), CsvOptions(prefixes=("x_", "y_")))
    assert [row["inputs"] for row in written(sequences, tmp_path)] == [
        [[1, 3], [2, 4]],
        [[5, 7], [6, 8]],
    ]
    assert sequences.features == ("x", "y")
    assert sequences.notes == ["the 2 time steps are x_0 to x_1"]


def test_numbered_columns_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    assert wide_rows(tmp_path, "t1,t10,t2\n1,10,2\n", prefixes=("t",))[0]["inputs"] == [1, 2, 10]
    assert wide_rows(tmp_path, "tb,ta\n1,2\n", prefixes=("t",))[0]["inputs"] == [1, 2]


def test_empty_cells_at_the_end_are_steps_unless_rows_are_ragged(tmp_path: Path) -> None:
    text = "x0,x1,x2,y0,y1,y2\n1,,,4,5,\n1,2,3,,,6\n"
    kept, cut = (
        wide_rows(tmp_path, text, prefixes=("x", "y"), ragged=ragged) for ragged in (False, True)
    )
    assert [len(row["inputs"]) for row in kept] == [3, 3]
    assert [len(row["inputs"]) for row in cut] == [2, 3]
    assert cut[0]["inputs"][0] == [1, 4] and math.isnan(cut[0]["inputs"][1][0])


def test_tokens_may_be_ragged(tmp_path: Path) -> None:
    text = "w0,w1,w2,target\na,b,,0\nb,,c,1\n"
    rows = wide_rows(tmp_path, text, tokens=True, ragged=True)
    assert rows == [
        {"inputs": ["a", "b"], "target": 0},
        {"inputs": ["b", None, "c"], "target": 1},
    ]


def test_rows_of_several_files_are_joined(tmp_path: Path) -> None:
    rows = wide_rows(tmp_path, "a,b\n1,2\n", "a,b\n3,4\n")
    assert [row["inputs"] for row in rows] == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "options", "cause", "cure"),
    [
        ("a,b\n1,2\n3,x\n", {}, "{}, row 3, column 'b': 'x' is not a number", "--keep b"),
        ("a,b\n1,2\n", {"prefixes": ("t",)}, "{} has no column for the inputs", "--inputs"),
        ("a,b\n1,2\n", {"prefixes": ("a", "t")}, "0 columns begin with 't', and 1", "each feature"),
        ("a,b\n1,2\n,\n", {"ragged": True}, "{}, row 3, has no time steps", "remove the row"),
        ("a,b\n1,2\n", {"prefixes": ("a", "b"), "tokens": True}, "2 prefixes, but", "--prefix"),
        ("a,target\n1,\n", {"target": "tarjet"}, "no column 'tarjet'", "did you mean 'target'?"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_a_cure(
    tmp_path: Path, text: str, options: dict[str, object], cause: str, cure: str
) -> None:
    with pytest.raises(DataError) as caught:
        wide_rows(tmp_path, text, **options)
    assert cause.format(tmp_path / "a.csv") in caught.value.cause
    assert cure in caught.value.cure
