"""Which split a row belongs to."""

from pathlib import Path

import pytest

from orchestrator.datasets.prepared import PreparedData
from tests.unit.datasets.tables.made import cut, rows, sequences, write
from workers.errors import InputError

N = 200


def many(**more: object) -> dict[str, object]:
    return {"x": sequences(N), "y": [row / 7 for row in range(N)], **more}


def members(data: PreparedData, split: str) -> set[float]:
    """Return the targets of a split's rows, which tell the rows apart."""
    return set(data.table(split, 0).column("target").to_pylist())


def counts(data: PreparedData) -> tuple[int, int, int]:
    return data.shape.train_rows, data.shape.validation_rows, data.shape.test_rows


def test_a_split_column_names_the_splits_in_any_usual_word(tmp_path: Path) -> None:
    words = ["train", "Training", " dev ", "TEST", "val", "valid", "validation", "testing"]
    path = write(tmp_path / "a.parquet", rows(8, y=[0, 1] * 4, split=words))
    data = cut(path)
    assert counts(data) == (2, 4, 2)
    assert data.origin.splits == {
        "train": "column 'split'",
        "validation": "column 'split'",
        "test": "column 'split'",
    }
    assert "the column 'split' names the split of each row" in data.origin.notes


def test_a_row_keeps_its_split_when_others_are_added_or_moved(tmp_path: Path) -> None:
    ids = [f"row-{row}" for row in range(N)]
    data = cut(write(tmp_path / "a.parquet", many(id=ids)), validation_fraction=0.1)
    assert 150 < data.shape.train_rows < 175
    backwards = {name: list(column)[:0:-1] for name, column in many(id=ids).items()}  # type: ignore
    fewer = cut(
        write(tmp_path / "b.parquet", backwards), id="id", target="y", validation_fraction=0.1
    )
    for split in ("train", "validation", "test"):
        assert members(data, split) - {0.0} == members(fewer, split)


def test_equal_rows_are_in_one_split(tmp_path: Path) -> None:
    x, y = sequences(N // 2), [row / 7 for row in range(N // 2)]
    data = cut(write(tmp_path / "a.parquet", {"x": x * 2, "y": y * 2}))
    parts = [members(data, split) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == N // 2
    assert data.origin.splits["test"] == "a share of 0.1, by a hash of the row's content"


def test_a_group_is_in_one_split(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", many(who=[row % 40 for row in range(N)]))
    data = cut(path, group="who", target="y", validation_fraction=0.1)
    rows_of = {split: members(data, split) for split in ("train", "validation", "test")}
    groups = {s: {round(y * 7) % 40 for y in members} for s, members in rows_of.items()}
    assert sum(map(len, groups.values())) == 40 and all(groups.values())


@pytest.mark.parametrize("num_rows", [999, 1000])
def test_few_rows_are_all_trained_on_and_that_is_said(tmp_path: Path, num_rows: int) -> None:
    table = {"x": sequences(num_rows), "y": [row / 7 for row in range(num_rows)]}
    data = cut(write(tmp_path / "a.parquet", table))
    assert (data.shape.validation_rows > 0) == (num_rows == 1000)
    said = any("too few to hold some out" in note for note in data.origin.notes)
    assert said == (num_rows == 999)


def test_separate_tables_are_the_splits(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", many())
    test = write(
        tmp_path / "t" / "b.parquet", {"x": sequences(5), "y": [float(i) for i in range(5)]}
    )
    data = cut(path, test=f"parquet:{test}", validation=str(test.parent))
    assert counts(data) == (N, 5, 5)
    assert data.origin.splits["test"] == f"the rows of {test}" and data.origin.num_files == 3
    some = cut(path, test=str(test), validation_fraction=0.3)
    assert 40 < some.shape.validation_rows < 80 and some.shape.test_rows == 5
    assert sum(counts(some)) == N + 5


def test_a_split_that_the_column_does_not_name_is_a_share_of_the_training_rows(
    tmp_path: Path,
) -> None:
    split = ["test" if row < 50 else "train" for row in range(N)]
    data = cut(write(tmp_path / "a.parquet", many(split=split)), validation_fraction=0.5)
    assert data.shape.test_rows == 50 and 50 < data.shape.validation_rows < 100
    none = cut(tmp_path / "a.parquet", validation_fraction=0.0)
    assert counts(none) == (150, 0, 50)


def test_a_split_must_not_be_named_twice(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows())
    with pytest.raises(InputError, match=r"test rows are those of .*column 'split' names test"):
        cut(path, test=str(path))


def test_a_column_split_that_holds_no_texts_is_not_used(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", many(split=[0, 1] * (N // 2)))
    data = cut(path, target="y")
    assert any("does not hold texts" in note for note in data.origin.notes)
    with pytest.raises(InputError, match="must be texts"):
        cut(path, target="y", split="split")
