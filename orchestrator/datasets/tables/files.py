"""Find the Parquet files that a URI names, tell whether they are still the same, and read them.

A URI is a path or anything that pyarrow.fs opens. It names a file, a folder, or with `*` and `**`
several files; in a path, `?` and `[...]` have their usual meaning, too. All Parquet files of a
folder are read, except those whose name, or the name of a folder above them, begins with `.` or
`_`. Their order is that of their paths.
"""

import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from workers.data.columns import innermost, is_list
from workers.data.numbers import first_line
from workers.errors import DataError, StorageError
from workers.storage.storage import open_file_system

_ENDINGS = (".parquet", ".parq", ".pq")
_TAIL_BYTES = 2**16
"""How much of the end of a file goes into its identity: all of the footer of most files."""
_BATCH_BYTES = 2**24
_MOST_BATCH_ROWS = 2**16
_READ_BYTES = 2**23
"""How much of a column is read at once."""


@dataclass(frozen=True)
class TableFile:
    """One Parquet file."""

    path: str
    """The path in its file system."""
    name: str
    """The path below the folder that the URI names, for errors."""
    size: int
    modified_ns: int


@dataclass(frozen=True)
class Tables:
    """The files that a URI names, at least one."""

    uri: str
    files: Sequence[TableFile]
    _fs: fs.FileSystem

    @property
    def num_bytes(self) -> int:
        return sum(file.size for file in self.files)

    def alone(self, file: TableFile) -> "Tables":
        """Return only one of the files."""
        return Tables(self.uri, [file], self._fs)

    def digest(self) -> str:
        """Return a SHA-256 of name, size, time of change and last bytes of each file.

        The whole content is not read: that of a large data set would take minutes at every
        submission. A Parquet file ends in the places, sizes and statistics of all its columns, so
        its end changes with nearly every change, also one within the same tick of the clock.
        """
        digest = hashlib.sha256()
        for file in self.files:
            with reading(self.uri, file.name), self._fs.open_input_file(file.path) as stream:
                size = min(file.size, _TAIL_BYTES)
                tail = stream.read_at(size, file.size - size)
            seen = [file.name, file.size, file.modified_ns, hashlib.sha256(tail).hexdigest()]
            digest.update(repr(seen).encode(errors="surrogateescape"))
        return digest.hexdigest()

    def open(self, file: TableFile) -> pq.ParquetFile:
        """Open a file without reading its rows. Raises DataError."""
        with reading(self.uri, file.name):
            return pq.ParquetFile(
                self._fs.open_input_file(file.path), pre_buffer=False, buffer_size=_READ_BYTES
            )

    def batches(
        self, file: TableFile, columns: Sequence[str], wanted: int = 0
    ) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Return the rows of a file in parts of about 16 MiB, each with the number of its first
        row. Raises DataError.

        `wanted`: the first row that is wanted. Row groups before it are not read.
        """
        with self.open(file) as opened:
            first_group, first = _group_of(wanted, opened.metadata)
            parts = _parts(opened, list(columns), first_group)
            while True:
                with reading(self.uri, file.name):
                    batch = next(parts, None)
                    if batch is None:
                        return
                    batch.validate(full=True)
                if batch.num_rows:
                    yield first, batch
                first += batch.num_rows


def _group_of(row: int, metadata: pq.FileMetaData) -> tuple[int, int]:
    """Return the number of the row group with a row, and that of its own first row."""
    first = 0
    for number in range(metadata.num_row_groups):
        num_rows = metadata.row_group(number).num_rows
        if row < first + num_rows:
            return number, first
        first += num_rows
    return metadata.num_row_groups, first


def _parts(file: pq.ParquetFile, columns: list[str], first_group: int) -> Iterator[pa.RecordBatch]:
    size, num_groups = batch_rows(file.metadata), file.metadata.num_row_groups
    groups = [list(range(first_group, num_groups))]
    kinds = [field.type for field in file.schema_arrow if is_list(field.type)]
    if any(pa.types.is_dictionary(innermost(kind)) for kind in kinds):
        # pyarrow cannot put together what two row groups have of such a column.
        groups = [[number] for number in groups[0]]
    for group in groups:
        yield from file.iter_batches(size, group, columns, use_threads=False)


def batch_rows(metadata: pq.FileMetaData) -> int:
    """Return how many rows of a file are read together."""
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    num_bytes: int = sum(group.total_byte_size for group in groups)
    per_row = max(1, num_bytes // max(1, int(metadata.num_rows)))
    return max(1, min(_BATCH_BYTES // per_row, _MOST_BATCH_ROWS))


@contextlib.contextmanager
def reading(uri: str, name: str) -> Iterator[None]:
    """Raise what goes wrong with a file as DataError."""
    try:
        yield
    except (OSError, ValueError, pa.ArrowException) as error:
        what = uri if uri.rpartition("/")[2] == name else f"{name} of {uri}"
        raise DataError(
            f"cannot read {what}: {first_line(error)}",
            "check that it is a whole Parquet file that this user may read",
        ) from error


def find_tables(uri: str) -> Tables:
    """Return the files that a URI names. Raises DataError, or InputError for credentials in it."""
    try:
        file_system, path = open_file_system(uri)
    except StorageError as error:
        raise DataError(error.cause, "name a file, a folder or a glob: parquet:URI") from error
    path = path.rstrip("/") or "/"
    with reading(uri, "the files"):
        files = _listed(file_system, path, is_path="://" not in uri)
    if not files:
        raise DataError(
            f"no Parquet file is at {uri}",
            f"name a file, a folder with files that end in {', '.join(_ENDINGS)}, or a glob",
        )
    return Tables(uri, files, file_system)


def absolute_uri(uri: str) -> str:
    """Return a URI that holds in every working folder. Raises DataError or InputError."""
    if "://" in uri:
        return uri
    try:
        return open_file_system(uri)[1]
    except StorageError as error:
        raise DataError(error.cause, "name a file, a folder or a glob: parquet:URI") from error


def _listed(file_system: fs.FileSystem, path: str, is_path: bool) -> Sequence[TableFile]:
    info = file_system.get_file_info(path)
    if info.type == fs.FileType.File:
        return [TableFile(path, info.base_name, info.size, info.mtime_ns or 0)]
    wildcards = "[*?[]" if is_path else "[*]"
    if info.type == fs.FileType.Directory:
        top, pattern = path, None
    elif found := re.search(wildcards, path):
        top = path[: found.start()].rpartition("/")[0] or "/"
        pattern = re.compile(_regex(path[len(top) :].lstrip("/"), is_path), re.DOTALL)
    else:
        return []
    files = []
    for info in file_system.get_file_info(
        fs.FileSelector(top, recursive=True, allow_not_found=True)
    ):
        name = info.path[len(top) :].lstrip("/")
        if info.type == fs.FileType.File and _is_meant(name, pattern):
            files.append(TableFile(info.path, name, info.size, info.mtime_ns or 0))
    return sorted(files, key=lambda file: file.name.split("/"))


def _is_meant(name: str, pattern: "re.Pattern[str] | None") -> bool:
    if pattern is not None:
        return pattern.fullmatch(name) is not None
    parts = PurePosixPath(name).parts
    is_hidden = any(part.startswith((".", "_")) for part in parts)
    return not is_hidden and name.lower().endswith(_ENDINGS)


def _regex(glob: str, is_path: bool) -> str:
    """Return a glob as a regular expression. `*` ends at a slash, `**/` matches folders."""
    special = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}
    if not is_path:
        parts = re.split(r"(\*\*/|\*\*|\*)", glob)
        return "".join(special.get(part, re.escape(part)) for part in parts)
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\])", glob)
    special["?"] = "[^/]"
    return "".join(special.get(part) or _class_or_text(part) for part in parts)


def _class_or_text(part: str) -> str:
    if len(part) < 3 or not (part.startswith("[") and part.endswith("]")):
        return re.escape(part)
    negated = part.startswith("[!")
    body = re.sub(r"[\\^\[\]]", r"\\\g<0>", part[1 + negated : -1])
    return f"[{'^' if negated else ''}{body}]"
