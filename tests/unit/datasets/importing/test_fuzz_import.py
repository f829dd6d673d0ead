"""Any table becomes a Parquet file with the same numbers, or is refused with a cause and a cure."""

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.datasets.importing.csv_columns import CsvOptions
from orchestrator.datasets.importing.csv_long import read_long
from orchestrator.datasets.importing.csv_wide import read_wide
from tests.unit.datasets.importing.files import (
    csv_files,
    long_rows,
    npz_rows,
    wide_rows,
    written,
)
from tests.unit.hostile import damaged
from workers.errors import JobError

NUMBERS = st.floats(width=64) | st.integers(-(2**53), 2**53).map(float)
NAMES = st.text("abcXYZ09 _-.é\"',\n", min_size=1, max_size=6).filter(lambda name: name.strip())
TARGETS = st.integers(-(2**63), 2**63 - 1) | st.booleans() | NAMES
ODD_CELLS = st.sampled_from(
    ["", " ", "1", "-0", "1e999", "nan", "NA", "x", "²", "1,5", '"', "true", "2020-01-01", "0x1"]
)


def text_of(rows: list[list[Any]]) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerows(rows)
    return stream.getvalue()


def same(found: Any, wanted: Any) -> bool:
    """Return whether numbers in lists are equal, where NaN equals NaN."""
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return bool(found == wanted) or (math.isnan(found) and math.isnan(wanted))


@st.composite
def sequences(draw: st.DrawFn) -> list[tuple[str, list[list[float]], Any]]:
    """Return some sequences of one width: an id, the vectors and a target."""
    width = draw(st.integers(1, 3))
    ids = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    kind = draw(st.sampled_from(["number", "text"]))
    target = st.integers(-(2**63), 2**63 - 1) if kind == "number" else NAMES
    vectors = st.lists(st.lists(NUMBERS, min_size=width, max_size=width), min_size=1, max_size=6)
    return [(name, draw(vectors), draw(target)) for name in ids]


def as_inputs(vectors: list[list[float]]) -> list[Any]:
    return [v[0] for v in vectors] if len(vectors[0]) == 1 else vectors


@given(sequences(), st.randoms(use_true_random=False))
def test_long_csv_in_any_order_of_rows_gives_the_same_numbers(
    tmp_path: Path, rows: list[tuple[str, list[list[float]], Any]], random: Any
) -> None:
    steps = [
        [name, time, *map(repr, vector), target]
        for name, vectors, target in rows
        for time, vector in enumerate(vectors)
    ]
    random.shuffle(steps)
    header = ["id", "time", *(f"f{n}" for n in range(len(steps[0]) - 3)), "target"]
    found = {row["id"]: row for row in long_rows(tmp_path, text_of([header, *steps]))}
    assert found.keys() == {name for name, *_ in rows}
    for name, vectors, target in rows:
        assert same(found[name]["inputs"], as_inputs(vectors))
        assert str(found[name]["target"]) == str(target)


@given(st.integers(1, 3), st.integers(1, 5), st.data())
def test_wide_csv_gives_the_same_numbers(
    tmp_path: Path, width: int, num_steps: int, data: st.DataObject
) -> None:
    columns = [f"{name}{time}" for name in "xyz"[:width] for time in range(num_steps)]
    numbers = st.lists(NUMBERS, min_size=len(columns), max_size=len(columns))
    rows = data.draw(st.lists(numbers, min_size=1, max_size=6))
    text = text_of([columns, *([repr(number) for number in row] for row in rows)])
    found = wide_rows(tmp_path, text, prefixes=tuple("xyz"[:width]))
    for row, numbers_of_row in zip(found, rows, strict=True):
        vectors = np.array(numbers_of_row).reshape(width, num_steps).T.tolist()
        assert same(row["inputs"], as_inputs(vectors))


@given(st.lists(st.lists(ODD_CELLS, max_size=4), max_size=6), st.booleans(), st.booleans())
def test_any_cells_are_written_or_refused(
    tmp_path: Path, cells: list[list[str]], tokens: bool, with_header: bool
) -> None:
    header = [["id", "time", "x", "target"]] if with_header else []
    check(tmp_path, text_of([*header, *cells]).encode(), tokens)


@given(damaged(b'id,time,x,target\na,1,2.5,u\nb,2,3,v\na,2,"4",u\n'), st.booleans())
def test_damaged_text_is_written_or_refused(tmp_path: Path, data: bytes, tokens: bool) -> None:
    check(tmp_path, data, tokens)


def check(folder: Path, data: bytes, tokens: bool) -> None:
    """Import as both forms. Either a file is there, or one error and no file."""
    (path,) = csv_files(folder, "")
    path.write_bytes(data)
    for read in (read_long, read_wide):
        (folder / "out.parquet").unlink(missing_ok=True)
        try:
            rows = written(read([path], CsvOptions(tokens=tokens)), folder)
            assert rows and all(row["inputs"] for row in rows)
        except JobError as error:
            assert error.cause and error.cure and "Traceback" not in error.cause
            assert not (folder / "out.parquet").exists()
        assert not list(folder.glob(".out*"))


@given(st.data())
def test_a_damaged_npz_file_is_written_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    stream = io.BytesIO()
    np.savez(stream, values=np.arange(12.0).reshape(6, 2), lengths=[2, 4], y=np.array(["a", "b"]))
    path = tmp_path / "arrays.npz"
    path.write_bytes(data.draw(damaged(stream.getvalue())))
    try:
        assert npz_rows(path)
    except JobError as error:
        assert error.cause and error.cure
        assert not list(tmp_path.glob(".out*"))
