"""Rows as JSON lines: what is read back is what the table has."""

import json
import math

import numpy as np
import pyarrow as pa

from workers.trained.json_lines import json_lines


def read_back(table: dict[str, pa.Array]) -> list[dict[str, object]]:
    text = json_lines(pa.RecordBatch.from_pydict(table)).decode("ascii")
    return [json.loads(line) for line in text.splitlines()]


def test_texts_numbers_and_structs_are_read_back() -> None:
    found = read_back(
        {
            "id": pa.array(["a", 'quote " and \\', "é\x1b[2J\x7f\n", None]),
            "n": pa.array([1, -(2**62), None, 0]),
            "p": pa.array([{"x": 0.5, "y, {": 1e-9}] * 4),
        }
    )
    assert [row["id"] for row in found] == ["a", 'quote " and \\', "é\x1b[2J\x7f\n", None]
    assert [row["n"] for row in found] == [1, -(2**62), None, 0]
    assert found[0]["p"] == {"x": 0.5, "y, {": 1e-9}


def test_no_text_can_drive_a_terminal() -> None:
    line = json_lines(pa.RecordBatch.from_pydict({"id": pa.array(["\x1b[2J\x7f\x9b\u202e"])}))
    assert all(32 <= byte < 127 or byte == 10 for byte in line)


def test_a_float_keeps_its_bits_and_what_is_none_is_null() -> None:
    numbers = np.random.default_rng(0).random(1000, np.float32)
    rows = read_back({"p": pa.array(numbers)})
    assert np.array_equal(np.array([row["p"] for row in rows], np.float32), numbers)
    assert [row["p"] for row in read_back({"p": pa.array([math.nan, math.inf, 1.0])})] == [
        None,
        None,
        1.0,
    ]


def test_no_rows_are_no_lines() -> None:
    assert read_back({"id": pa.array([], pa.string())}) == []
