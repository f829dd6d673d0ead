"""Arrays that numpy.savez wrote."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from orchestrator.datasets.importing import npy_array
from tests.unit.datasets.importing.files import npz_rows
from workers.errors import DataError


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "arrays.npz", **arrays)
    return folder / "arrays.npz"


def refusal(path: Path, **options: str) -> DataError:
    with pytest.raises(DataError) as caught:
        npz_rows(path, **options)
    assert caught.value.cure and "\n" not in caught.value.cause + caught.value.cure
    return caught.value


@pytest.fixture(params=[2**24, 1], ids=["at once", "row by row"], autouse=True)
def part_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy_array, "_PART_BYTES", request.param)


@pytest.mark.parametrize("dtype", ["f4", ">f8", "i2", ">u4", "f2", "?"])
def test_equal_sequences_are_read(tmp_path: Path, dtype: str) -> None:
    x_NTF = np.arange(24).reshape(4, 3, 2).astype(dtype)
    path = npz(tmp_path, x=x_NTF, y=np.array(list("abca")), id=np.arange(4))
    rows = npz_rows(path)
    assert [row["inputs"] for row in rows] == x_NTF.tolist()
    assert [(row["target"], row["id"]) for row in rows] == list(zip("abca", "0123", strict=True))


def test_numbers_keep_their_type(tmp_path: Path) -> None:
    npz_rows(npz(tmp_path, x=np.zeros((2, 3), np.int16), y=np.zeros(2, np.float32)))
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "out.parquet")}
    assert types == {"inputs": "list<element: int16>", "target": "float"}


@pytest.mark.parametrize("width", [[], [2]])
def test_joined_sequences_are_cut_by_their_lengths(tmp_path: Path, width: list[int]) -> None:
    values = np.random.default_rng(0).random([12, *width])
    rows = npz_rows(npz(tmp_path, values=values, lengths=[3, 4, 5], y=[1, 0, 1]))
    assert [row["inputs"] for row in rows] == [
        values[:3].tolist(), values[3:7].tolist(), values[7:].tolist()
    ]  # fmt: skip


def test_padded_sequences_are_cut_by_their_lengths(tmp_path: Path) -> None:
    x_NTF = np.random.default_rng(0).random((3, 4, 2))
    rows = npz_rows(npz(tmp_path, X=x_NTF, n=np.array([1, 4, 2])), lengths="n")
    assert [row["inputs"] for row in rows] == [
        x_NTF[0, :1].tolist(), x_NTF[1].tolist(), x_NTF[2, :2].tolist()
    ]  # fmt: skip


def test_text_is_tokens(tmp_path: Path) -> None:
    path = npz(tmp_path, x=np.array([["a", "bc"], ["d", "a"]]), labels=[True, False])
    assert [row["inputs"] for row in npz_rows(path)] == [["a", "bc"], ["d", "a"]]


def test_arrays_are_named_by_options(tmp_path: Path) -> None:
    path = npz(tmp_path, x_train=np.zeros((2, 3)), y_train=[[5], [6]], x_test=np.ones((1, 3)))
    assert [row["target"] for row in npz_rows(path, inputs="x_train", target="y_train")] == [5, 6]
    error = refusal(path)
    assert "has no array named inputs or x or X or values" in error.cause
    assert "x_train (2, 3), y_train (2, 1)" in error.cure
    assert "did you mean 'x_train'?" in refusal(path, inputs="x_trian").cure


def test_objects_are_refused_and_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "trapped",))

    ragged = np.array([[1], [2, 3]], dtype=object)
    ragged[0] = Trap()
    error = refusal(npz(tmp_path, x=ragged))
    assert "holds objects, which could run code" in error.cause
    assert "numpy.savez(file, values=numpy.concatenate(rows)" in error.cure
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("arrays", "cause", "cure"),
    [
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(3)},
            "'y' of {} has the shape (3,), but 'x' 2",
            "one",
        ),
        ({"x": np.zeros((2, 3)), "y": np.zeros((2, 4))}, "the shape (2, 4)", "argmax(axis=1)"),
        ({"x": np.zeros(3)}, "'x' of {} has the shape (3,)", "(sequences, steps)"),
        ({"x": np.zeros((2, 3, 4, 5))}, "the shape (2, 3, 4, 5)", "(sequences, steps)"),
        ({"x": np.zeros((2, 0))}, "the shape (2, 0)", "(sequences, steps)"),
        ({"x": np.zeros((0, 3))}, "there is not one sequence", "has rows"),
        ({"x": np.zeros((2, 3), complex)}, "'x' of {} has the type complex128", "astype"),
        ({"x": np.asfortranarray(np.zeros((2, 3)))}, "in Fortran order", "ascontiguousarray"),
        ({"x": np.zeros((7, 3)), "lengths": [2, 4]}, "add up to 6 time steps", "joined"),
        ({"x": np.zeros((2, 3)), "lengths": [2, 0]}, "has a length of 0", "at least one"),
        ({"x": np.zeros((2, 3)), "lengths": [1.0, 2.0]}, "the type float64", "whole number"),
        ({"x": np.zeros((2, 3)), "lengths": [-1, 2**62]}, "has a length of -1", "at least one"),
        ({"x": np.zeros((2, 3)), "lengths": [2**62, 2**62]}, "add up to", "joined"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_a_cure(
    tmp_path: Path, arrays: dict[str, Any], cause: str, cure: str
) -> None:
    error = refusal(npz(tmp_path, **arrays))
    assert cause.format(tmp_path / "arrays.npz") in error.cause
    assert cure in error.cure


def test_a_header_that_promises_terabytes_is_refused(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 3)}
    )
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue() + bytes(100))
    assert "the array 'x' is truncated" in refusal(tmp_path / "a.npz").cause


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x93NUMPY", b"id,x\n"])
def test_what_is_no_npz_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(data)
    assert "is no NPZ file, or damaged" in refusal(tmp_path / "a.npz").cause
