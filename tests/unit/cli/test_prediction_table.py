"""Predictions on a terminal: within 80 columns, and no text drives the terminal."""

import sys

import pyarrow as pa
import pytest

from orchestrator.cli.models.prediction_table import print_rows

CLASSES = ["a", "a class with a name that is much too long for a line", "\x1b[2Jc"]


def rows(**ids: list[object]) -> pa.RecordBatch:
    columns: dict[str, object] = {
        **ids,
        "prediction": CLASSES,
        "probability": [0.5, 0.75, float("nan")],
        "probabilities": [{name: (n + 1) / 10 for n, name in enumerate(CLASSES)}] * 3,
    }
    return pa.RecordBatch.from_pydict(columns)


def test_a_line_for_each_row_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    long = "/a/very/long/path/to/some/folder/with/pictures/of/digits/0001.png"
    print_rows([rows(file=[long, "b", "c"], row=[0, 1, 999_999])], sys.stdout)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(len(line) <= 80 for line in lines)
    assert lines[1].startswith("…") and "digits/0001.png" in lines[1] and "50.00%" in lines[1]
    assert "\x1b" not in "".join(lines)


def test_numbers_have_no_probability(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(
        [pa.RecordBatch.from_pydict({"id": ["x", "y"], "prediction": [1234.5678, 1e-9]})],
        sys.stdout,
    )
    assert capsys.readouterr().out.splitlines() == [
        "id  prediction", "x   1234.57", "y   1e-09",
    ]  # fmt: skip


def test_no_rows_are_no_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], sys.stdout)
    assert capsys.readouterr().out == ""
