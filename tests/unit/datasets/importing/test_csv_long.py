"""CSV with one row for each time step."""

import gzip
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.datasets.importing import csv_long
from orchestrator.datasets.importing.csv_columns import CsvOptions
from tests.unit.datasets.importing.files import csv_files, long_rows, written
from workers.errors import DataError

MIXED = """id,time,x,y,target,split
a,3,1.5,2,up,train
b,1,0.25,3,down,test
a,1,7,8,up,train
b,2,4,5,down,test
a,2,9,10,up,train
"""


def refusal(folder: Path, *texts: str, **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        long_rows(folder, *texts, **options)
    assert caught.value.cause and caught.value.cure
    assert not list(folder.glob("*.parquet")) and not list(folder.glob(".*"))
    return caught.value


def test_rows_that_are_not_adjacent_become_sequences_sorted_by_time(tmp_path: Path) -> None:
    assert long_rows(tmp_path, MIXED) == [
        {"id": "a", "inputs": [[7, 8], [9, 10], [1.5, 2]], "target": "up", "split": "train"},
        {"id": "b", "inputs": [[0.25, 3], [4, 5]], "target": "down", "split": "test"},
    ]


def test_sequences_that_had_to_be_sorted_are_counted(tmp_path: Path) -> None:
    sequences = csv_long.read_long(csv_files(tmp_path, MIXED), CsvOptions())
    written(sequences, tmp_path)
    assert sequences.notes == ["sequences that had to be sorted by time: 1"]
    assert sequences.features == ("x", "y")
    schema = pq.read_schema(tmp_path / "out.parquet")
    assert schema.field("inputs").metadata[b"features"] == b'["x", "y"]'


def test_without_a_time_rows_keep_their_order_and_one_feature_is_a_list_of_numbers(
    tmp_path: Path,
) -> None:
    rows = long_rows(tmp_path, "who,v\nb,3\na,1\nb,2\n", id="who")
    assert rows == [{"id": "b", "inputs": [3, 2]}, {"id": "a", "inputs": [1]}]


def test_the_result_does_not_depend_on_the_number_of_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [f"{n % 7},{-n},{n * 0.1}" for n in range(100)]
    text = "\n".join(["id,time,x", *lines])
    whole = long_rows(tmp_path, text)
    monkeypatch.setattr(csv_long, "_BUCKET_BYTES", 100)
    monkeypatch.setattr(csv_long, "_MAX_BUCKETS", 5)
    parts = long_rows(tmp_path, text)
    assert parts != whole
    assert sorted(parts, key=lambda row: str(row["id"])) == whole


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (["10", "9", "8.5"], [2, 1, 0]),
        (["2020-01-02", "2020-01-01 10:00:00.5", "2020-01-01T10:00:00.25"], [2, 1, 0]),
        (["1700000000000000001", "1700000000000000000", "-5"], [2, 1, 0]),
        (["2020-01-01T10:00:00Z", "2020-01-01T11:00:00Z", "2019-01-01T00:00:00Z"], [2, 0, 1]),
    ],
)
def test_times_are_numbers_or_iso_8601(tmp_path: Path, times: list[str], order: list[int]) -> None:
    text = "id,time,x\n" + "".join(f"a,{time},{n}\n" for n, time in enumerate(times))
    assert long_rows(tmp_path, text)[0]["inputs"] == order


def test_two_steps_at_one_time_are_refused_with_their_rows(tmp_path: Path) -> None:
    error = refusal(tmp_path, "id,time,x\nb,1,0\na,1,2\nb,2,0\na,1,3\n")
    path = tmp_path / "a.csv"
    assert error.cause == (
        f"sequence 'a' has two time steps at the time 1: {path}, row 3 and {path}, row 5"
    )


def test_several_files_are_one_sequence_each_without_an_id(tmp_path: Path) -> None:
    rows = long_rows(tmp_path, "x,target\n1,5\n2,5\n", "x,target\n3,6\n")
    assert rows == [
        {"id": "a", "inputs": [1, 2], "target": 5},
        {"id": "b", "inputs": [3], "target": 6},
    ]


def test_one_file_needs_an_id(tmp_path: Path) -> None:
    assert "has no column 'id'" in refusal(tmp_path, "x\n1\n").cause


def test_a_target_keeps_its_type(tmp_path: Path) -> None:
    def target(*values: str) -> list[object]:
        text = "id,x,y\n" + "".join(f"{n},0,{value}\n" for n, value in enumerate(values))
        return [row["target"] for row in long_rows(tmp_path, text, target="y")]

    assert target("1", "2") == [1, 2]
    assert target("1", "2.5") == [1.0, 2.5]
    assert target("1", "2.5", "x") == ["1", "2.5", "x"]
    assert target("true", "False") == [True, False]
    assert target("true", "x") == ["true", "x"]
    assert target("2020-01-01", "NA") == ["2020-01-01", "NA"]
    assert target("1", "") == [1, None]


def test_a_target_may_stand_in_one_row_of_a_sequence(tmp_path: Path) -> None:
    assert long_rows(tmp_path, "id,x,target\na,1,\na,2,7\n")[0]["target"] == 7


def test_two_targets_of_a_sequence_are_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, "id,x,target\na,1,6\na,2,7\n")
    assert error.cause == "sequence 'a' has several values in the column 'target': 6 and 7"


def test_an_id_stays_as_it_is_written(tmp_path: Path) -> None:
    rows = long_rows(tmp_path, "id,x\n007,1\n7,2\nNA,3\n")
    assert [row["id"] for row in rows] == ["007", "7", "NA"]


def test_missing_numbers_are_kept_as_nan(tmp_path: Path) -> None:
    inputs = long_rows(tmp_path, "id,x,y\na,1,\na,nan,inf\n")[0]["inputs"]
    assert str(inputs) == "[[1.0, nan], [nan, inf]]"


def test_tokens_are_text(tmp_path: Path) -> None:
    text = 'id,event\na,login\na,"two, lines\nof text"\na,\na,12\n'
    assert long_rows(tmp_path, text, tokens=True)[0]["inputs"] == [
        "login", "two, lines\nof text", None, "12"
    ]  # fmt: skip


def test_zipped_files_and_tabs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "steps.tsv.gz"
    path.write_bytes(gzip.compress(b"id\tx\na\t1\n"))
    rows = written(csv_long.read_long([path], CsvOptions()), tmp_path)
    assert rows == [{"id": "a", "inputs": [1]}]


@pytest.mark.parametrize(
    ("text", "options", "cause", "cure"),
    [
        ("id,x\na,1\na,1.x\n", {}, "row 3, column 'x': '1.x' is not a number", "--keep x"),
        ("id,x\na,1\n", {"target": "y"}, "--target: {} has no column 'y'", "columns are id, x"),
        ("id,sped\na,1\n", {"inputs": ("speed",)}, "no column 'speed'", "did you mean 'sped'?"),
        ("id;x\na;1\n", {"id": "id"}, "has no column 'id'", "What separates cells is --delimiter"),
        ("", {}, "{} is empty", "first row names the columns"),
        ("id,x\n", {}, "there is not one sequence to write", "has rows"),
        ("id,x\n,1\n", {}, "row 2, column 'id': the cell is empty", "fill it in"),
        ("id,time,x\na,,1\n", {}, "row 2, column 'time': the cell is empty", "fill it in"),
        ("id,time,x\na,soon,1\n", {}, "row 2, column 'time': 'soon' is not a number", "correct"),
        ("id,time,x\na,1,1\na,z,1\n", {}, "row 3, column 'time': 'z' is not a number", "correct"),
        (
            "id,time,x\na,2020-01-01,1\na,z,1\n",
            {},
            "row 3, column 'time': 'z' is not a time like",
            "correct",
        ),
        ("id,x\na,1,2\n", {}, "{}, row 2, has 3 cells, but the header 2", "--delimiter"),
        ("id,x,x\na,1,2\n", {}, "{} has two columns 'x'", "rename"),
        ("id,target\na,1\n", {}, "{} has no column for the inputs", "--inputs"),
        ("id,x,y\na,1,2\n", {"tokens": True}, "there are 2 columns with inputs", "--inputs"),
        ("id,x\na,1\n", {"target": "x", "inputs": ("x",)}, "'x' is named for two", "one of them"),
        ("id,x,inputs\na,1,2\n", {"keep": ("inputs",)}, "'inputs' cannot be kept", "rename"),
        ("id,x,split\na,1,\n", {}, "the column 'split' has empty cells", "--split"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_a_cure(
    tmp_path: Path, text: str, options: dict[str, object], cause: str, cure: str
) -> None:
    error = refusal(tmp_path, text, **options)
    assert cause.format(tmp_path / "a.csv") in error.cause
    assert cure in error.cure
    assert "\n" not in error.cause + error.cure


def test_files_with_other_headers_are_refused(tmp_path: Path) -> None:
    assert "is not that of" in refusal(tmp_path, "id,x\na,1\n", "id,y\na,1\n").cause


@pytest.mark.parametrize("name", ["none.csv", "x" * 5000, "a\0b", "folder"])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"does not exist|is no file"):
        csv_long.read_long([tmp_path / name], CsvOptions())


def test_text_that_is_not_utf_8_and_damaged_gzip_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,x\n\xff,1\n")
    (tmp_path / "c.csv").write_bytes(b"id,\xff\na,1\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"id,x\na,1\n" * 1000)[:-20])
    for name in ("a.csv", "b.csv.gz", "c.csv"):
        with pytest.raises(
            DataError,
            match=r"cannot read|the header of .* is no UTF-8|row 2, column 'id', is no UTF-8",
        ):
            written(csv_long.read_long([tmp_path / name], CsvOptions()), tmp_path)
