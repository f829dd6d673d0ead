"""Which files are read: paths, folders and patterns, each file once, in a fixed order."""

from pathlib import Path

import pytest

from orchestrator.trained.predict.found import find_inputs
from tests.unit.workers.data import data_sets
from workers.data.kinds import ImageInput
from workers.errors import InputError

IMAGES = data_sets.shape_of(ImageInput(height=28, width=28), data_sets.CLASSES)
VECTORS = data_sets.shape_of(data_sets.VECTORS, data_sets.CLASSES)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.png", "a.jpg", "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (tmp_path / name).write_bytes(b"x")
    for name in ("sub/c.PNG", ".hidden/d.png", "_left/e.png", "rows.parquet", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "unnamed").write_bytes(b"\x89PNG rest")
    (tmp_path / "rows.csv").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(*names: str) -> list[str]:
    return [file.path for file in find_inputs(names, IMAGES)]


def test_a_folder_has_the_files_that_the_model_reads_in_the_order_of_their_paths(
    folder: Path,
) -> None:
    images = ["a.jpg", "b.png", "rows.parquet", "sub/c.PNG", "t10k-images-idx3-ubyte.gz"]
    assert paths(str(folder)) == [f"{folder}/{name}" for name in images]
    sequences = [file.path for file in find_inputs([str(folder)], VECTORS)]
    assert sequences == [f"{folder}/rows.csv", f"{folder}/rows.parquet"]


def test_a_file_that_is_named_twice_is_read_once_where_it_was_named_first(folder: Path) -> None:
    assert paths("b.png", "*.png", "a.jpg", str(folder / "b.png")) == ["b.png", "a.jpg"]
    assert paths("**/*.PNG") == ["sub/c.PNG"]


def test_a_file_without_an_ending_is_known_by_its_first_bytes(folder: Path) -> None:
    assert [file.kind for file in find_inputs(["unnamed"], IMAGES)] == ["picture"]


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("missing.png", "missing.png does not exist"),
        ("*.gif", "*.gif matches no file"),
        ("notes.txt", "notes.txt is none of the files that the model reads, which are PNG and"),
        ("rows.csv", "rows.csv is a file of CSV, and the model reads images"),
        ("empty", "the folder empty has no file that the model reads"),
    ],
)
def test_what_the_model_cannot_read_is_refused(folder: Path, name: str, cause: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        find_inputs([name], IMAGES)
    assert cause in caught.value.cause and caught.value.cure
