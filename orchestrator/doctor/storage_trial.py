"""Test a storage in the way a run uses it, and leave it as it was before."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from workers.errors import StorageError
from workers.storage.storage import Storage

_TRIAL_S = 5.0
"""Longer than the trial of another process takes that began before this one ended."""
_POLL_S = 0.05


@contextlib.contextmanager
def removing_new_folders(storage: Storage) -> Iterator[list[Path]]:
    """Remove the folders that were created for a storage on this machine, if they are empty.

    Yields the folders that did not exist before. They are removed on exit. If another process on
    this machine tries the same storage, the one that came first waits a moment for the other.
    """
    path = storage.local_path
    missing = [p for p in (path, *path.parents) if not p.exists()] if path else []
    try:
        yield missing
    finally:
        deadline = time.monotonic() + _TRIAL_S
        for folder in missing:
            _remove_when_empty(folder, deadline)


def _remove_when_empty(folder: Path, deadline: float) -> None:
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_S)
        else:
            return


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
