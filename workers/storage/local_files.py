"""Files on this machine that somebody else may have put there.

Only regular files are opened. A named pipe would make its reader wait for ever, and a symbolic link
may lead to any file of the user.
"""

import contextlib
import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from workers.errors import RefusedFileError

_CURE = "rnnjob did not make it so: look at it, and replace or remove it"
_KINDS = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
_SAFELY = os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
"""Without O_NONBLOCK, opening a named pipe waits for its other end."""
_NO_FILE = (errno.ELOOP, errno.ENXIO, errno.ENODEV, errno.EISDIR)
"""What opening says of a link, a pipe without a reader, a socket, a missing device, a folder."""


@dataclass(frozen=True)
class FileInfo:
    """A file below a folder."""

    name: str
    """Its path within the folder."""
    size: int
    """Bytes."""
    modified: float
    """When it was written last, in Unix seconds."""


def refusal(where: str, why: str) -> RefusedFileError:
    return RefusedFileError(f"{where} {why}", _CURE)


def resolve(path: str, boundary: str | None) -> str:
    """Return the path of the same file, without symbolic links below the folder `boundary`.

    That folder may be a link itself, or lie behind one. Without it, only the last part of the path
    counts.

    Raises RefusedFileError if a link leads out of the folder.
    """
    if not any(map(os.path.islink, _below(path, boundary))):
        return path
    resolved = os.path.realpath(path)
    if boundary is not None:
        top = os.path.realpath(boundary)
        if resolved != top and not resolved.startswith(top.rstrip("/") + "/"):
            raise refusal(path, f"leads out of {boundary}, through a symbolic link")
    return resolved


def _below(path: str, boundary: str | None) -> Iterator[str]:
    """Return the path of each folder below the boundary that leads to the file, and the file's."""
    end = len(boundary) if boundary is not None else path.rfind("/")
    while 0 <= end < len(path):
        end = path.find("/", end + 1)
        end = len(path) if end < 0 else end
        yield path[:end]


def open_regular(path: str) -> BinaryIO:
    """Open a file to read it. Raises RefusedFileError if it is a link or no regular file."""
    return os.fdopen(_open(path, os.O_RDONLY), "rb")


def open_to_append(path: str) -> BinaryIO:
    """Open a file to append to it, without a buffer, and create it if it is missing.

    Raises RefusedFileError if it is a link or no regular file.
    """
    # Without a buffer: a buffer would lose the data that a full disk did not accept.
    return os.fdopen(_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab", buffering=0)


def _open(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | _SAFELY, 0o666)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise refusal(path, f"is {_kind(os.lstat(path).st_mode)}, not a file") from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise refusal(path, f"is {_kind(mode)}, not a file")
    os.set_blocking(descriptor, True)  # a child process may get the file as its output
    return descriptor


def _kind(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else _KINDS.get(stat.S_IFMT(mode), "a device")


def make_folders(path: str, top: str) -> bool:
    """Create a folder and those above it, up to the folder `top`. Return False if that is gone."""
    missing = []
    while path != top and not os.path.isdir(path):  # noqa: PTH112
        missing.append(path)
        path = path.rpartition("/")[0] or "/"
    try:
        for folder in reversed(missing):
            with contextlib.suppress(FileExistsError):
                os.mkdir(folder)  # noqa: PTH102
    except FileNotFoundError:
        return False
    return os.path.isdir(top)  # noqa: PTH112


def replace(path: str, data: bytes) -> None:
    """Replace a file atomically: write another file beside it, then rename that one.

    A symbolic link of that name is replaced, not followed.
    """
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(data)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def create(path: str, data: bytes) -> bool:
    """Write a new file atomically. Return False if there is something of that name already."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_bytes(data)
        # Not O_EXCL: a process that is killed would leave an empty file of that name.
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def _while_others_change_it() -> Iterator[None]:
    """Ignore that another process removes the same folder, too, or still writes into it."""
    try:
        yield
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise


def remove(path: str) -> None:
    """Remove a folder with all its content, or what else has its name. Follows no symbolic link."""
    while os.path.lexists(path):
        with _while_others_change_it():
            if os.path.isdir(path) and not os.path.islink(path):  # noqa: PTH112, PTH114
                shutil.rmtree(path)
            else:
                os.unlink(path)  # noqa: PTH108


def files(path: str) -> list[FileInfo]:
    """Return the files below a folder, those in its subfolders too. Follows no symbolic link."""
    found = []
    for folder, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # it has another name by now, or is gone
                info = os.lstat(f"{folder}/{name}")
                inner = os.path.relpath(f"{folder}/{name}", path)
                found.append(FileInfo(inner, info.st_size, info.st_mtime))
    return found
