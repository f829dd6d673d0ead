"""Write what a command was asked for where the user says, whole or not at all."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from workers.errors import InputError, StorageError
from workers.storage import local_files

_CURE = "check that it is writable and has room, or name another place: -o"


def check_output(path: Path, force: bool, is_ours: Callable[[Path], bool] | None = None) -> None:
    """Raise InputError if a file or folder cannot be written there.

    Args:
        force: whether what is there may be replaced.
        is_ours: if a folder is to be written, whether an old one may be replaced by it.
    """
    with _named_errors(path):
        folder = path.parent
        if not folder.is_dir():
            raise InputError(f"the folder {folder} does not exist", "make it, or name another: -o")
        if not os.access(folder, os.W_OK):
            raise InputError(f"the folder {folder} is not writable", "name another: -o")
        if not os.path.lexists(path):
            return
        if not force:
            raise InputError(f"{path} exists", "replace it with --force, or name another: -o")
        if is_ours is None and path.is_dir():
            raise InputError(f"{path} is a folder", "name a file: -o")
        if is_ours is not None and not (path.is_dir() and is_ours(path)):
            raise InputError(
                f"{path} is nothing that this command wrote, and is not replaced",
                "remove it, or name another: -o",
            )


def write_output(path: Path, content: bytes) -> None:
    """Write a file beside its place and rename it. Raises StorageError."""
    with _named_errors(path):
        local_files.replace(str(path), content)


@contextlib.contextmanager
def new_folder(path: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Write files into a folder beside its place, and yield that folder.

    After the context it takes the place of what was there. If an error is raised within, it is
    removed. Raises StorageError.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with _named_errors(path):
            for name, content in files.items():
                file = temporary / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
        yield temporary
        with _named_errors(path):
            _put(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put(folder: Path, path: Path) -> None:
    """Rename a folder to its place. What was there is away for a moment, and comes back if the
    new one cannot take its place."""
    if not os.path.lexists(path):
        folder.rename(path)
        return
    old = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    path.rename(old)
    try:
        folder.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise StorageError(f"cannot write {path}: {why}", _CURE) from error
