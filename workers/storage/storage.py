"""A folder on any file system that pyarrow.fs can open: a local path, s3://, gs://, hdfs://.

File names are relative to the folder, with `/` between the parts. Writes are atomic: a reader sees
the whole file or no file.

What is read may be a stranger's. So a read has a limit in bytes, only regular files are opened, and
in a folder that is `confined` no symbolic link is followed out of it.
"""

import contextlib
import copy
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
from pyarrow import fs

from workers.errors import GoneError, RefusedFileError, StorageError
from workers.storage import lines, local_files, s3_new_object
from workers.storage.credentials import refuse_credentials
from workers.storage.lines import Line
from workers.storage.local_files import FileInfo
from workers.storage.retries import REPEATING_ERRNOS, Retries, is_permanent
from workers.storage.s3 import open_s3

T = TypeVar("T")
SMALL_BYTES = 2**20
"""The limit for documents of a fixed form. Ours have some kilobytes."""
LARGE_BYTES = 2**26
"""The limit for documents that grow with the epochs of a job or the shards of a data set."""
_MAX_BYTES_IN_LINES = 2**34
"""The limit for a file that is read in lines: hours of zeros are not worth waiting for."""
_SETTLE_S = 2.0
"""How long a new file is left alone until it is read again, if it cannot be created atomically."""


@contextlib.contextmanager
def storage_errors(action: str, where: str) -> Iterator[None]:
    """Raise errors of a file system as StorageError.

    A read of a missing file raises FileNotFoundError.
    """
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
    told = os.strerror(number) if number else str(error)
    reach = "can be reached with the credentials of this environment, " if "://" in where else ""
    failed = StorageError(
        f"cannot {action} {where}: {told}",
        f"check that the storage {reach}exists, is writable and has room, "
        "or name another: --storage",
    )
    failed.repeats = number in REPEATING_ERRNOS or is_permanent(told)
    return failed


def _absolute(path: str) -> Path:
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:  # ~user of a user that does not exist
        raise ValueError(str(error)) from error


def open_file_system(uri: str) -> tuple[fs.FileSystem, str]:
    """Return the file system of a local path or a URI, and the absolute path in it.

    Raises InputError if the URI holds credentials, StorageError if it cannot be opened.
    """
    with storage_errors("open", uri):
        uri.encode()  # raises ValueError for text that is not valid Unicode
    if "://" not in uri:
        with storage_errors("open", uri):
            return fs.LocalFileSystem(), str(_absolute(uri))
    refuse_credentials(uri)
    with storage_errors("open", uri):
        opened: tuple[fs.FileSystem, str] = (
            open_s3(uri) if uri.startswith("s3://") else fs.FileSystem.from_uri(uri)
        )
        return opened


class Storage:
    """One folder. It need not exist yet."""

    def __init__(self, uri: str) -> None:
        """Open a local path or a URI.

        Raises InputError if the URI holds credentials, StorageError if it cannot be opened.
        """
        self._fs, root = open_file_system(uri)
        self.uri = uri if "://" in uri else root
        self._root: str = root.rstrip("/") or "/"
        self._is_local = isinstance(self._fs, fs.LocalFileSystem)
        self._retries: Retries | None = None
        self._boundary: str | None = None
        """The folder out of which no symbolic link is followed."""
        self._anchor: str | None = None
        """The file without which nothing is written any more."""

    def __repr__(self) -> str:
        return f"Storage({self.where()!r})"

    def __copy__(self) -> "Storage":
        # A list of many runs makes several for each of them, and the copy module is slow.
        copied = object.__new__(type(self))
        copied.__dict__.update(self.__dict__)
        return copied

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def child(self, name: str) -> "Storage":
        """Return the folder `name` inside this one."""
        child = copy.copy(self)
        child._root = f"{self._root}/{name}"
        # A URI may end in options: s3://bucket/runs?region=... In a path, ? has no special meaning.
        base, mark, options = self.uri.partition("?" if "://" in self.uri else "\0")
        child.uri = f"{base.rstrip('/')}/{name}{mark}{options}"
        return child

    def confined(self) -> "Storage":
        """Return the same folder, in which no symbolic link that leads out of it is followed.

        The folder itself may be a link, or lie behind one. The same holds for its children.
        """
        copied = copy.copy(self)
        copied._boundary = self._boundary or self._root
        return copied

    def anchored(self, name: str) -> "Storage":
        """Return the same folder, in which nothing is written once it was deleted.

        A local folder must exist. Of a remote one, which is no more than its files, the file `name`
        must; it alone is written before it exists. The same holds for the folder's children.
        """
        copied = copy.copy(self)
        copied._anchor = f"{self._root}/{name}"
        return copied

    def gone(self) -> GoneError:
        """Return the error of a folder that was deleted while something was to be written there."""
        top = self._anchor.rpartition("/")[0] if self._anchor else self._root
        return GoneError(
            f"{top if self.local_path else f'{self._fs.type_name}://{top}'} was deleted meanwhile",
            "nothing is left to go on from: begin anew",
        )

    def with_retries(self) -> "Storage":
        """Return the same folder for a process that keeps a job alive.

        Operations on a remote storage that fail are tried again for `retries.MAX_FAILING_S`. Those
        on a local folder fail at once.
        """
        if self.local_path or self._retries:
            return self
        copied = copy.copy(self)
        copied._retries = Retries()
        return copied

    @property
    def name(self) -> str:
        """The name of the folder without its path."""
        return self._root.rpartition("/")[2]

    @property
    def parent_uri(self) -> str:
        """The URI of the folder that contains this one."""
        base, mark, options = self.uri.partition("?" if "://" in self.uri else "\0")
        return base.rstrip("/").rpartition("/")[0] + mark + options

    @property
    def local_path(self) -> Path | None:
        """The path of the folder if it is on this machine's file system, else None."""
        return Path(self._root) if self._is_local else None

    @property
    def filesystem_and_path(self) -> tuple[fs.FileSystem, str]:
        """The file system, and the path of the folder in it. Raises RefusedFileError."""
        return self._fs, self._path()

    def where(self, name: str = "") -> str:
        """Return the location of a file, or of the folder, as messages show it."""
        path = f"{self._root}/{name}" if name else self._root
        return path if self._is_local else f"{self._fs.type_name}://{path}"

    def _path(self, name: str = "", follow: bool = True) -> str:
        """Return the path of a file, or of the folder, for the file system.

        `follow`: whether the operation follows a symbolic link in the last part of the path.

        Raises RefusedFileError if the path leads out of the folder that confines this one.
        """
        path = f"{self._root}/{name}" if name else self._root
        if not self._is_local or path == self._boundary:
            return path
        if follow:
            return local_files.resolve(path, self._boundary)
        parent, _, last = path.rpartition("/")
        return f"{local_files.resolve(parent or '/', self._boundary)}/{last}"

    def _do(self, action: str, name: str, operation: Callable[[], T]) -> T:
        """Run an operation that may be repeated; retry it if this storage has retries."""

        def once() -> T:
            with storage_errors(action, self.where(name)):
                return operation()

        return self._retries.call(once) if self._retries else once()

    def create(self) -> None:
        """Create the folder and its parents. Do nothing if it exists."""

        def create() -> None:
            self._make_way(f"{self._path()}/")
            if self.local_path is None:
                self._fs.create_dir(self._root, recursive=True)

        self._do("create", "", create)

    def _make_way(self, path: str) -> None:
        """Create the folders above a path that is to be written. Raises GoneError."""
        if self.local_path:
            # Step by step, so that a folder that is deleted meanwhile does not come back.
            top = self._anchor.rpartition("/")[0] if self._anchor else "/"
            if not local_files.make_folders(path.rpartition("/")[0], top):
                raise self.gone()
        elif self._anchor not in (None, path):
            info = self._fs.get_file_info(self._anchor)
            if info.type == fs.FileType.NotFound:
                raise self.gone()

    def create_new(self) -> bool:
        """Create the folder. Return False if it exists.

        If two processes call this at the same moment, only a local disk ensures that just one
        creates the folder: other file systems have no atomic operation for it.
        """
        if path := self.local_path:
            with storage_errors("create", self.where()):
                path.parent.mkdir(parents=True, exist_ok=True)
                try:
                    path.mkdir()
                except FileExistsError:
                    return False
            return True
        if self.exists():
            return False
        self._do("create", "", lambda: self._fs.create_dir(self._root, recursive=True))
        return True

    def write(self, name: str, data: bytes) -> None:
        """Write a whole file atomically: readers see the old content or the new."""
        put = self._put if self.local_path is None else local_files.replace

        def write() -> None:
            path = self._path(name, follow=False)
            self._make_way(path)
            put(path, data)

        self._do("write", name, write)

    def write_new(self, name: str, data: bytes) -> bool:
        """Write a whole file atomically, unless there is one of that name.

        Returns whether this call wrote it. Of several processes just one does, on a local file
        system, and on S3 if the server has conditional writes and botocore is installed. Elsewhere
        the last of those that write at the same moment wins, and the others are told so, unless
        one of them takes longer than `_SETTLE_S` to write.
        """

        def write_new() -> bool | None:
            path = self._path(name, follow=False)
            self._make_way(path)
            if self.local_path:
                return local_files.create(path, data)
            return s3_new_object.put_new(self.uri, path, data) if self._is_s3 else None

        done = self._do("write", name, write_new)
        if done is not None:
            # A request that was repeated, since its answer was lost, finds its own object.
            return done or (self._is_s3 and self._holds(name, data))
        if self.exists(name):
            return False
        self.write(name, data)
        time.sleep(_SETTLE_S)
        return self._holds(name, data)

    @property
    def _is_s3(self) -> bool:
        return self.uri.startswith("s3://")

    def _holds(self, name: str, data: bytes) -> bool:
        try:
            return self.read(name, len(data)) == data
        except (FileNotFoundError, RefusedFileError):
            return False

    def _put(self, path: str, data: bytes) -> None:
        # An object store shows an object only after it is complete.
        with self._fs.open_output_stream(path) as stream:
            stream.write(data)

    def upload(self, name: str, source: Path) -> None:
        """Write a whole file atomically, with the content of a file of this machine."""

        def put() -> None:
            path = self._path(name, follow=False)
            self._make_way(path)
            fs.copy_files(str(source), path, fs.LocalFileSystem(), self._fs)

        self._do("write", name, put)

    def open_to_append(self, name: str) -> BinaryIO:
        """Open a file of a local folder to append to it. A remote storage cannot append.

        Raises StorageError.
        """
        with storage_errors("write", self.where(name)):
            return local_files.open_to_append(self._path(name))

    def read(self, name: str, max_bytes: int = SMALL_BYTES) -> bytes:
        """Return the content of a file.

        Raises FileNotFoundError if it does not exist, RefusedFileError if it has more than
        `max_bytes` or is no regular file.
        """

        def read() -> bytes:
            with self._opened(name, max_bytes) as (file, size):
                data: bytes = file.read(size)
                return data

        return self._do("read", name, read)

    def read_lines(
        self,
        name: str,
        use: Callable[[Iterator[Line]], T],
        start: Callable[[int], int] = lambda _: 0,
        max_bytes: int = _MAX_BYTES_IN_LINES,
    ) -> T:
        """Return what `use` makes of the lines of a file. They are read one after the other.

        Args:
            use: called again if a remote storage fails meanwhile.
            start: returns the position of the first line that is wanted. It is given a number that
                tells a local file from a later one of the same name.
            max_bytes: see `read`.

        Raises as `read`.
        """

        def read() -> T:
            with self._opened(name, max_bytes) as (file, size):
                inode = os.fstat(file.fileno()).st_ino if self.local_path else 0
                return use(lines.split(file, start(inode), size))

        return self._do("read", name, read)

    def read_places(self, name: str, use: Callable[[Any], T], max_bytes: int) -> T:
        """Return what `use` makes of an open file, of which it may read any places.

        `use` is called again if a remote storage fails meanwhile. Raises as `read`.
        """

        def read() -> T:
            with self._opened(name, max_bytes) as (file, _):
                return use(file)

        return self._do("read", name, read)

    @contextlib.contextmanager
    def _opened(self, name: str, max_bytes: int) -> Iterator[tuple[Any, int]]:
        """Open a file to read it, and return it with its size in bytes."""
        path, is_local = self._path(name), self._is_local
        opened: Any = local_files.open_regular(path) if is_local else self._fs.open_input_file(path)
        with opened as file:
            size: int = os.fstat(file.fileno()).st_size if is_local else file.size()
            if size > max_bytes:
                why = f"has {size:,} bytes, and no more than {max_bytes:,} are read"
                raise local_files.refusal(self.where(name), why)
            yield file, size

    def exists(self, name: str = "") -> bool:
        info = self._do(
            "read", name, lambda: self._fs.get_file_info(self._path(name, follow=False))
        )
        return bool(info.type != fs.FileType.NotFound)

    # Here and not below: the name `list` is a method's from there on.
    def _names(self, path: str) -> list[str]:
        if self.local_path is None:
            selector = fs.FileSelector(path, allow_not_found=True)
            return [info.base_name for info in self._fs.get_file_info(selector)]
        with contextlib.suppress(FileNotFoundError):
            return [entry.name for entry in Path(path).iterdir()]
        return []

    def _files(self) -> list[FileInfo]:
        if self.local_path:
            return local_files.files(self._path())
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        return [
            FileInfo(info.path[len(self._root) + 1 :], info.size, info.mtime_ns / 1e9)
            for info in self._fs.get_file_info(selector)
            if info.type == fs.FileType.File
        ]

    # Before `list` for the same reason.
    def files(self) -> list[FileInfo]:
        """Return the files in the folder and its subfolders, in no order."""
        return self._do("list", "", self._files)

    def list(self, name: str = "") -> list[str]:
        """Return the sorted names of what a folder contains directly; none if it is missing."""
        return sorted(self._do("list", name, lambda: self._names(self._path(name))))

    def usage(self) -> tuple[int, int]:
        """Return the number of files in the folder and its subfolders, and their size in bytes."""
        files = self.files()
        return len(files), sum(file.size for file in files)

    def delete(self, name: str = "") -> None:
        """Delete a folder and all its content. Do nothing if it is missing.

        A symbolic link is deleted, and not what it leads to.
        """

        def delete() -> None:
            path = self._path(name, follow=False)
            if self.local_path:
                local_files.remove(path)
                return
            with contextlib.suppress(FileNotFoundError):
                self._fs.delete_dir(path)

        self._do("delete", name, delete)

    def delete_file(self, name: str) -> None:
        with storage_errors("delete", self.where(name)):
            self._fs.delete_file(self._path(name, follow=False))
