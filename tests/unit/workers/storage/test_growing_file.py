"""GrowingFile: data that a flush could not write is not lost."""

from pathlib import Path

import pytest

from workers.errors import StorageError
from workers.storage.growing_file import GrowingFile
from workers.storage.storage import Storage


class Remote(Storage):
    """A storage that cannot append. Its writes fail while `fails` is true."""

    fails = False
    local_path = None

    def write(self, name: str, data: bytes) -> None:
        if self.fails:
            raise StorageError(f"cannot write {name}: down")
        super().write(name, data)


def test_what_is_added_is_in_the_file_after_a_flush_only(tmp_path: Path) -> None:
    (tmp_path / "remote").mkdir()
    for storage in (Storage(str(tmp_path / "local")), Remote(str(tmp_path / "remote"))):
        file = GrowingFile(storage, "a", b"0")
        file.add(b"1")
        assert storage.read("a") == b"0"
        file.flush()
        file.add(b"2")
        file.flush()
        file.flush()
        file.close()
        assert storage.read("a") == b"012"


def test_what_a_remote_storage_did_not_take_is_written_at_the_next_flush(tmp_path: Path) -> None:
    storage = Remote(str(tmp_path))
    file = GrowingFile(storage, "a")
    file.add(b"1")
    storage.fails = True
    with pytest.raises(StorageError):
        file.flush()
    storage.fails = False
    file.add(b"2")
    file.flush()
    assert storage.read("a") == b"12"
