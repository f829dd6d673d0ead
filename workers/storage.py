"""A folder on any file system that pyarrow.fs opens: a local path, s3://, gs://, hdfs://.

Names are relative to the folder, with `/` between the parts. A file appears whole or not at all.
"""

import contextlib
import copy
import os
import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pyarrow import fs

from workers.errors import InputError, StorageError
from workers.patience import Patience
from workers.s3 import open_s3

T = TypeVar("T")
_PASSWORD = re.compile(r"[^/@]*:.*@", re.DOTALL)
"""user:password@ behind the scheme; a password may hold a slash."""
_OBJECT_STORES = ("s3", "gs", "gcs")
"""Buckets have no port: there, a colon before an @ is a password's."""
_SECRET_OPTION = re.compile(
    r"[?&][^=&]*(secret|password|token|access_key|account_key|\bsig\b)[^=&]*=", re.IGNORECASE
)


@contextlib.contextmanager
def explained(action: str, where: str) -> Iterator[None]:
    """Turns what a file system raises into StorageError, or FileNotFoundError of a read."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        if action == "read":
            raise FileNotFoundError(where) from error
        raise _error(action, where, error) from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _error(action, where, error) from error


def _error(action: str, where: str, error: Exception) -> StorageError:
    number = getattr(error, "errno", None)
    reach = "can be reached with the credentials of this environment, " if "://" in where else ""
    return StorageError(
        f"cannot {action} {where}: {os.strerror(number) if number else error}",
        f"check that the storage {reach}exists, is writable and has room, "
        "or name another: --storage",
    )


def refuse_credentials(uri: str) -> None:
    """A URI is printed, logged and kept in run folders, so it must hold no secret.

    Raises InputError, which does not show it.
    """
    scheme, _, rest = uri.partition("://")
    path, mark, _ = rest.partition("?")
    if _PASSWORD.match(path if scheme in _OBJECT_STORES else path.partition("/")[0]):
        shown = f"{scheme}://***@{path.rpartition('@')[2]}"
    elif _SECRET_OPTION.search(uri):
        shown = f"{scheme}://{path}{mark}***"
    else:
        return
    cure = "leave them out; the environment of each process has them instead"
    if scheme == "s3":
        cure = (
            "leave them out, and put them into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or into ~/.aws/credentials"
        )
    raise InputError(f"the URI {shown} holds credentials", cure)


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:  # ~ of a user who is none
        raise ValueError(str(error)) from error


class Storage:
    """One folder; need not exist yet."""

    def __init__(self, uri: str) -> None:
        """Raises InputError where the URI holds credentials, StorageError where it is none that
        can be opened."""
        with explained("open", uri):
            uri.encode()  # a file system knows paths as text
        if "://" in uri:
            refuse_credentials(uri)
            with explained("open", uri):
                is_s3 = uri.startswith("s3://")
                self._fs, root = open_s3(uri) if is_s3 else fs.FileSystem.from_uri(uri)
            self.uri = uri
        else:
            with explained("open", uri):
                self._fs, root = fs.LocalFileSystem(), str(_absolute(uri))
            self.uri = root
        self._root: str = root.rstrip("/") or "/"
        self._patience: Patience | None = None

    def __repr__(self) -> str:
        return f"Storage({self.where()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def child(self, name: str) -> "Storage":
        """The folder `name` in this one."""
        child = copy.copy(self)
        child._root = f"{self._root}/{name}"
        # A URI may end in options: s3://bucket/runs?region=... In a path, ? is a letter.
        base, mark, options = self.uri.partition("?" if "://" in self.uri else "\0")
        child.uri = f"{base.rstrip('/')}/{name}{mark}{options}"
        return child

    def patient(self) -> "Storage":
        """The same folder, for who has a job to keep alive: a remote one that fails is tried again
        for `PATIENCE_S`. A local one fails at once."""
        if self.local_path or self._patience:
            return self
        patient = copy.copy(self)
        patient._patience = Patience()
        return patient

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self._root.rpartition("/")[2]

    @property
    def parent_uri(self) -> str:
        """The URI of the folder that this one is in."""
        base, mark, options = self.uri.partition("?" if "://" in self.uri else "\0")
        return base.rstrip("/").rpartition("/")[0] + mark + options

    @property
    def local_path(self) -> Path | None:
        """The folder as a path of this machine, if it is one."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    @property
    def opened(self) -> tuple[fs.FileSystem, str]:
        """The file system, and the folder's path in it."""
        return self._fs, self._root

    def where(self, name: str = "") -> str:
        """How to name a file to a person."""
        path = f"{self._root}/{name}" if name else self._root
        return path if self.local_path else f"{self._fs.type_name}://{path}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _do(self, action: str, name: str, operation: Callable[[], T]) -> T:
        """An operation that may be repeated, with the patience that this storage has."""

        def once() -> T:
            with explained(action, self.where(name)):
                return operation()

        return self._patience.keep_trying(once) if self._patience else once()

    def create(self) -> None:
        """Makes the folder and those above it; fine where it exists."""
        self._do("create", "", lambda: self._fs.create_dir(self._root, recursive=True))

    def create_new(self) -> bool:
        """Makes the folder; False where it exists (of two at the same moment, surely one only on a
        local disk: other file systems have no such atomic step)."""
        if path := self.local_path:
            with explained("create", self.where()):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    path.mkdir()
                except FileExistsError:
                    return False
            return True
        if self.exists():
            return False
        self.create()
        return True

    def write(self, name: str, data: bytes) -> None:
        """The whole file at once: readers see the old content or the new."""
        path = self._path(name)
        local = self.local_path is not None
        self._do("write", name, lambda: _replace(path, data) if local else self._put(path, data))

    def _put(self, path: str, data: bytes) -> None:
        # Object stores show an object only once it is complete.
        with self._fs.open_output_stream(path) as stream:
            stream.write(data)

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError where there is no such file."""

        def read() -> bytes:
            with self._fs.open_input_stream(self._path(name)) as stream:
                data: bytes = stream.read()
                return data

        return self._do("read", name, read)

    def exists(self, name: str = "") -> bool:
        info = self._do("read", name, lambda: self._fs.get_file_info(self._path(name)))
        return bool(info.type != fs.FileType.NotFound)

    def list(self, name: str = "") -> list[str]:
        """Names of files and folders directly in a folder, sorted; empty where it is missing."""
        selector = fs.FileSelector(self._path(name), allow_not_found=True)
        infos = self._do("list", name, lambda: self._fs.get_file_info(selector))
        return sorted(info.base_name for info in infos)

    def usage(self) -> tuple[int, int]:
        """How many files are below the folder, and their bytes."""
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        infos = self._do("list", "", lambda: self._fs.get_file_info(selector))
        sizes = [info.size for info in infos if info.type == fs.FileType.File]
        return len(sizes), sum(sizes)

    def delete(self, name: str = "") -> None:
        """A folder with all in it; fine where it is missing."""

        def delete() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._fs.delete_dir(self._path(name))

        self._do("delete", name, delete)

    def delete_file(self, name: str) -> None:
        with explained("delete", self.where(name)):
            self._fs.delete_file(self._path(name))


def _replace(path: str, data: bytes) -> None:
    """A local file, written beside and renamed."""
    target = Path(path)
    beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        beside.write_bytes(data)
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
