"""The data of the worked examples: what docs/examples.md says of them, and the same bytes ever."""

import hashlib
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from examples import adding_problem, brackets, japanese_vowels


def digest(table: pa.Table) -> str:
    return hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest()[:12]


@pytest.fixture
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"train": 400, "validation": 40, "test": 200}
    monkeypatch.setattr(adding_problem, "SPLITS", sizes)
    monkeypatch.setattr(brackets, "SPLITS", sizes)


def test_the_target_of_the_adding_problem_is_the_sum_of_two_marked_values(few_rows: None) -> None:
    rows = adding_problem.make_table().to_pylist()
    assert Counter(row["split"] for row in rows) == {"train": 400, "validation": 40, "test": 200}
    for row in rows:
        values, markers = np.array(row["inputs"], np.float32).T
        assert 50 <= len(values) <= 100
        assert values.min() >= 0 and values.max() < 1
        half = len(values) // 2
        assert markers[:half].sum() == markers[half:].sum() == 1
        assert row["target"] == values[markers == 1].sum()
    assert abs(np.var([row["target"] for row in rows]) - 1 / 6) < 0.02


def test_brackets_are_labelled_rightly_and_classes_are_balanced_by_length(few_rows: None) -> None:
    rows = brackets.make_table().to_pylist()
    lengths: dict[int, Counter[bool]] = {}
    for row in rows:
        assert brackets.is_balanced(row["inputs"]) == row["balanced"]
        depths = np.cumsum([1 if token in brackets.PAIRS else -1 for token in row["inputs"]])
        assert not row["balanced"] or depths.max() <= 8
        lengths.setdefault(len(row["inputs"]), Counter())[row["balanced"]] += 1
    assert lengths.keys() == set(range(2, 101, 2))
    assert all(count[True] == count[False] for count in lengths.values())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("()", True), ("([]{})", True), ("", True), ("(", False), ("([)]", False), (")(", False)],
)
def test_what_is_balanced(text: str, wanted: bool) -> None:
    assert brackets.is_balanced(list(text)) == wanted


def test_the_rows_are_a_function_of_the_seed(few_rows: None) -> None:
    assert digest(adding_problem.make_table()) == "dbc91bacc20c"
    assert digest(brackets.make_table()) == "c6a525cccb8d"
    assert digest(brackets.make_table(1)) != digest(brackets.make_table())
    assert digest(adding_problem.make_table(1)) != digest(adding_problem.make_table())


def test_a_ts_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "Some_TRAIN.ts"
    path.write_text("#c\n@problemName Some\n@data\n1,2,3:4,5,6.5:9\n0,1:2,3:1\n\n")
    assert japanese_vowels.read_ts(path).to_pylist() == [
        {"id": "Some_TRAIN-000", "inputs": [[1, 4], [2, 5], [3, 6.5]], "speaker": "speaker 9"},
        {"id": "Some_TRAIN-001", "inputs": [[0, 2], [1, 3]], "speaker": "speaker 1"},
    ]


def test_japanese_vowels_are_those_of_the_archive() -> None:
    if importlib.util.find_spec("sktime") is None:
        pytest.skip("needs the extra `examples`: sktime is not installed")
    folder = japanese_vowels.package_folder() / "datasets" / "data" / "JapaneseVowels"
    train, test = (
        japanese_vowels.read_ts(folder / f"JapaneseVowels_{split}.ts").to_pylist()
        for split in ("TRAIN", "TEST")
    )
    assert (len(train), len(test)) == (270, 370)
    assert set(Counter(row["speaker"] for row in train).values()) == {30}
    assert {len(step) for row in train + test for step in row["inputs"]} == {12}
    lengths = [len(row["inputs"]) for row in train + test]
    assert (min(lengths), max(lengths)) == (7, 29)
