"""What a command was asked for appears whole or not at all."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.trained.new_output import check_output, new_folder, write_output
from workers.errors import InputError, StorageError

FILES = {"a": b"1", "folder/b": b"2"}


@contextlib.contextmanager
def little_room(num_bytes: int) -> Iterator[None]:
    """Within this context, a file cannot become longer, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "out"
    file.write_bytes(b"old")
    with little_room(100), pytest.raises(StorageError, match=r"cannot write .*out: File too large"):
        write_output(file, bytes(1000))
    assert file.read_bytes() == b"old" and names(tmp_path) == ["out"]


def test_a_full_disk_leaves_no_part_of_a_folder(tmp_path: Path) -> None:
    files = {**FILES, "large": bytes(1000)}
    with (
        little_room(100),
        pytest.raises(StorageError, match="File too large"),
        new_folder(tmp_path / "out", files),
    ):
        pytest.fail("it cannot be written")
    assert names(tmp_path) == []


def test_a_folder_takes_the_place_of_the_old_one_when_all_went_well(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out, FILES):
        assert not out.exists()
    assert (out / "folder" / "b").read_bytes() == b"2"
    with pytest.raises(KeyError), new_folder(out, {"c": b"3"}):
        raise KeyError
    assert names(out) == ["a", "folder"]
    with new_folder(out, {"c": b"3"}):
        pass
    assert names(out) == ["c"] and names(tmp_path) == ["out"]


def test_what_is_there_is_replaced_only_if_it_was_written_by_us(tmp_path: Path) -> None:
    out = tmp_path / "out"
    check_output(out, force=False)
    out.mkdir()
    with pytest.raises(InputError, match="exists"):
        check_output(out, force=False)
    with pytest.raises(InputError, match="is a folder"):
        check_output(out, force=True)
    with pytest.raises(InputError, match="nothing that this command wrote"):
        check_output(out, force=True, is_ours=lambda folder: (folder / "a").exists())
    (out / "a").touch()
    check_output(out, force=True, is_ours=lambda folder: (folder / "a").exists())
    with pytest.raises(InputError, match="does not exist"):
        check_output(tmp_path / "none" / "out", force=True)
    with pytest.raises(StorageError, match="cannot write"):
        write_output(tmp_path / ("x" * 300), b"")
