"""Storage: a folder on any file system, with atomic writes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.errors import StorageError
from workers.storage.storage import Storage


@pytest.fixture(params=["path", "file URI"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    folder = tmp_path / "storage"
    return Storage(str(folder) if request.param == "path" else f"file://{folder}")


def test_what_is_written_is_read(storage: Storage) -> None:
    storage.write("a/b.txt", b"\x00\xff")
    storage.write("a/b.txt", b"new")
    assert storage.read("a/b.txt") == b"new"
    assert storage.child("a").read("b.txt") == b"new"
    assert storage.exists("a/b.txt")
    assert not storage.exists("a/c.txt")


@given(data=st.binary(max_size=300))
def test_any_bytes_come_back(tmp_path: Path, data: bytes) -> None:
    storage = Storage(str(tmp_path))
    storage.write("x", data)
    assert storage.read("x") == data


def test_a_write_leaves_no_other_file_behind(storage: Storage, tmp_path: Path) -> None:
    for content in (b"1", b"2"):
        storage.write("result.json", content)
    assert [p.name for p in (tmp_path / "storage").iterdir()] == ["result.json"]


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path))
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").write_text("old")
    with pytest.raises(StorageError) as caught:
        storage.write("taken", b"new")
    assert f"cannot write {tmp_path}/taken: Is a directory" in caught.value.cause
    assert caught.value.cure.endswith("or name another: --storage")
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]
    assert storage.read("taken/inside") == b"old"


def test_a_storage_below_a_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    storage = Storage(str(tmp_path / "file" / "runs"))
    with pytest.raises(StorageError, match=r"cannot write .*/file/runs/a: Not a directory"):
        storage.write("a", b"")
    with pytest.raises(StorageError, match=r"cannot create .*/file/runs"):
        storage.create_new()


def test_a_missing_file_is_a_file_not_found_error(storage: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        storage.read("none")


def test_names_are_listed_in_order_and_a_missing_folder_is_empty(storage: Storage) -> None:
    assert storage.list() == []
    for name in ("b", "a/inside", "c"):
        storage.write(name, b"")
    assert storage.list() == ["a", "b", "c"]
    assert storage.list("a") == ["inside"]
    assert storage.list("none") == []


def test_deleting_takes_a_folder_with_all_in_it_and_may_be_repeated(storage: Storage) -> None:
    storage.write("a/b/c", b"")
    storage.write("keep", b"")
    storage.delete("a")
    storage.delete("a")
    storage.delete_file("keep")
    assert storage.list() == []


def test_a_new_folder_is_made_once(storage: Storage) -> None:
    child = storage.child("run")
    assert child.create_new() is True
    assert child.create_new() is False


def test_a_file_uri_works_like_a_path(tmp_path: Path) -> None:
    by_uri, by_path = Storage(f"file://{tmp_path}/runs"), Storage(str(tmp_path / "runs"))
    by_uri.write("a/b", b"1")
    assert by_path.read("a/b") == b"1"
    assert by_uri.local_path == by_path.local_path == tmp_path / "runs"
    assert by_uri.where("a") == by_path.where("a") == str(tmp_path / "runs" / "a")
    assert by_uri.uri == f"file://{tmp_path}/runs"
    assert by_uri.child("a").uri == f"file://{tmp_path}/runs/a"


def test_a_relative_path_is_taken_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("./runs/").uri == str(tmp_path / "runs")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert Storage("~/runs").uri == str(tmp_path / "home" / "runs")


def test_an_unknown_scheme_is_an_error_that_names_it() -> None:
    with pytest.raises(StorageError, match=r"cannot open nonsense://x: .*nonsense") as caught:
        Storage("nonsense://x")
    assert "--storage" in caught.value.cure


def test_a_question_mark_in_a_path_has_no_special_meaning(tmp_path: Path) -> None:
    child = Storage(str(tmp_path / "what?" / "runs")).child("run-1")
    child.write("a", b"1")
    assert Storage(child.uri).read("a") == b"1"
    assert child.local_path == tmp_path / "what?" / "runs" / "run-1"


def test_name_and_parent_keep_question_marks_and_options_apart(tmp_path: Path) -> None:
    run = Storage(f"{tmp_path}/what?/runs").child("a?b")
    assert run.name == "a?b"
    assert run.parent_uri == f"{tmp_path}/what?/runs"
    remote = Storage(f"file://{tmp_path}/runs").child("r1")
    assert (remote.name, remote.parent_uri) == ("r1", f"file://{tmp_path}/runs")
