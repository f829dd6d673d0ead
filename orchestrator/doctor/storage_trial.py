"""Test a storage in the way a run uses it, and leave it as it was before."""

import contextlib
import uuid
from collections.abc import Iterator
from pathlib import Path

from workers.errors import StorageError
from workers.storage.storage import Storage


@contextlib.contextmanager
def removing_new_folders(storage: Storage) -> Iterator[list[Path]]:
    """Remove the folders that were created for a storage on this machine, if they are empty.

    Yields the folders that do not exist before. They are removed on exit.
    """
    path = storage.local_path
    missing = [p for p in (path, *path.parents) if not p.exists()] if path else []
    try:
        yield missing
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):
                folder.rmdir()


def try_storage(storage: Storage, name: str) -> None:
    """Write a file called `name`, read it and delete it. Raises StorageError."""
    content = uuid.uuid4().bytes
    storage.write(name, content)
    same = storage.read(name) == content
    storage.delete_file(name)
    if not same:
        raise StorageError(
            f"{storage.where()} returns other bytes than were written",
            "choose another storage with --storage",
        )
