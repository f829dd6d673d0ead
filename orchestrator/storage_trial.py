"""Tries a storage out as a run would use it, and leaves it as it was."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from workers.errors import StorageError
from workers.storage import Storage


@contextlib.contextmanager
def left_as_found(storage: Storage) -> Iterator[list[Path]]:
    """Afterwards, no folder of this machine is there that was not before, if it is empty.

    Yields those that are missing before.
    """
    path = storage.local_path
    missing = [p for p in (path, *path.parents) if not p.exists()] if path else []
    try:
        yield missing
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()


def try_out(storage: Storage, name: str) -> None:
    """Writes the file `name`, reads it and deletes it. Raises StorageError."""
    content = uuid.uuid4().bytes
    storage.write(name, content)
    same = storage.read(name) == content
    storage.delete_file(name)
    if not same:
        raise StorageError(f"{storage.where()} gives back other bytes", "name another: --storage")
