"""Write a large file a part at a time, so that others see all of it or nothing."""

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path

from workers.errors import InputError, StorageError
from workers.storage.storage import Storage


def file_at(output: str, flag: str, suffix: str) -> tuple[Storage, str]:
    """Return the folder and the name of a file. Options of a URI belong to the folder.

    Args:
        output: a path, or a URI.
        flag: what the user names it with, and `suffix` what its name may end in, for errors.

    Raises InputError or StorageError.
    """
    base, mark, options = output.partition("?" if "://" in output else "\0")
    folder, _, name = base.rpartition("/")
    if not name or name in (".", "..") or os.path.isdir(base):  # noqa: PTH112
        raise InputError(f"{flag} is '{output}', a folder", f"name a file: {flag} NAME{suffix}")
    folder = folder or ("/" if base.startswith("/") else ".")
    return Storage(folder + mark + options), name


@contextlib.contextmanager
def written_whole(storage: Storage, name: str, cure: str) -> Iterator[Path]:
    """Return the path of a file to write, which then takes its name in the storage.

    After an error, nothing of it is left.

    Raises StorageError, with this cure, if the disk is full or the file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            if folder := storage.local_path:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f".{name[:200]}.{secrets.token_hex(4)}"
                stack.callback(path.unlink, missing_ok=True)
            else:
                path = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "file"
            yield path
            if folder:
                path.replace(folder / name)
            else:
                storage.upload(name, path)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StorageError(f"cannot write {storage.where(name)}: {reason}", cure) from error
