"""A folder on any file system that pyarrow.fs opens: a local path, s3://, gs://, hdfs://.

Names are relative to the folder, with `/` between the parts. A file appears whole or not at all.
"""

import contextlib
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from workers.errors import InputError, StorageError
from workers.s3 import open_s3

_PASSWORD = re.compile(r"[^/@]*:.*@", re.DOTALL)
"""user:password@ behind the scheme; a password may hold a slash."""
_OBJECT_STORES = ("s3", "gs", "gcs")
"""Buckets have no port: there, a colon before an @ is a password's."""
_SECRET_OPTION = re.compile(
    r"[?&][^=&]*(secret|password|token|access_key|account_key|\bsig\b)[^=&]*=", re.IGNORECASE
)


@contextlib.contextmanager
def _explained(action: str, where: str) -> Iterator[None]:
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


class Storage:
    """One folder; need not exist yet."""

    def __init__(self, uri: str) -> None:
        """Raises InputError where the URI holds credentials, StorageError where it is none that
        can be opened."""
        if "://" in uri:
            refuse_credentials(uri)
            with _explained("open", uri):
                is_s3 = uri.startswith("s3://")
                self._fs, root = open_s3(uri) if is_s3 else fs.FileSystem.from_uri(uri)
            self.uri = uri
        else:
            self._fs, root = fs.LocalFileSystem(), str(Path(uri).expanduser().absolute())
            self.uri = root
        self._root: str = root.rstrip("/") or "/"

    def __repr__(self) -> str:
        return f"Storage({self.where()!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Storage) and self.uri == other.uri

    def __hash__(self) -> int:
        return hash(self.uri)

    def child(self, name: str) -> "Storage":
        """The folder `name` in this one."""
        child = object.__new__(Storage)
        child._fs, child._root = self._fs, f"{self._root}/{name}"
        # A URI may end in options: s3://bucket/runs?region=... In a path, ? is a letter.
        base, mark, options = self.uri.partition("?" if "://" in self.uri else "\0")
        child.uri = f"{base.rstrip('/')}/{name}{mark}{options}"
        return child

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

    def where(self, name: str = "") -> str:
        """How to name a file to a person."""
        path = f"{self._root}/{name}" if name else self._root
        return path if self.local_path else f"{self._fs.type_name}://{path}"

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def create(self) -> None:
        """Makes the folder and those above it; fine where it exists."""
        with _explained("create", self.where()):
            self._fs.create_dir(self._root, recursive=True)

    def create_new(self) -> bool:
        """Makes the folder; False where it exists (of two at the same moment, surely one only on a
        local disk: other file systems have no such atomic step)."""
        if path := self.local_path:
            with _explained("create", self.where()):
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
        with _explained("write", self.where(name)):
            if self.local_path is None:  # object stores show an object only once it is complete
                with self._fs.open_output_stream(path) as stream:
                    stream.write(data)
                return
            beside = Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex[:8]}")
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            try:
                with open(beside, "xb") as file:
                    file.write(data)
                beside.replace(path)
            except BaseException:
                beside.unlink(missing_ok=True)
                raise

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError where there is no such file."""
        with (
            _explained("read", self.where(name)),
            self._fs.open_input_stream(self._path(name)) as stream,
        ):
            data: bytes = stream.read()
            return data

    def exists(self, name: str = "") -> bool:
        with _explained("read", self.where(name)):
            info = self._fs.get_file_info(self._path(name))
            return bool(info.type != fs.FileType.NotFound)

    def list(self, name: str = "") -> list[str]:
        """Names of files and folders directly in a folder, sorted; empty where it is missing."""
        with _explained("list", self.where(name)):
            infos = self._fs.get_file_info(fs.FileSelector(self._path(name), allow_not_found=True))
            return sorted(info.base_name for info in infos)

    def usage(self) -> tuple[int, int]:
        """How many files are below the folder, and their bytes."""
        with _explained("list", self.where()):
            selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
            infos = [i for i in self._fs.get_file_info(selector) if i.type == fs.FileType.File]
            return len(infos), sum(info.size for info in infos)

    def delete(self, name: str = "") -> None:
        """A folder with all in it; fine where it is missing."""
        with _explained("delete", self.where(name)), contextlib.suppress(FileNotFoundError):
            self._fs.delete_dir(self._path(name))

    def delete_file(self, name: str) -> None:
        with _explained("delete", self.where(name)):
            self._fs.delete_file(self._path(name))

    def upload(self, folder: Path, name: str) -> None:
        """Copies a folder of this machine into this one as `name`."""
        with _explained("write", self.where(name)):
            fs.copy_files(
                str(folder),
                self._path(name),
                source_filesystem=fs.LocalFileSystem(),
                destination_filesystem=self._fs,
            )
