"""Which files are to be predicted: paths, folders, patterns and URIs, in a fixed order."""

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workers.data.kinds import DataShape, ImageInput
from workers.errors import InputError

Kind = Literal["picture", "idx", "table", "csv"]
_ENDINGS: dict[Kind, tuple[str, ...]] = {
    "picture": (".png", ".jpg", ".jpeg"),
    "idx": ("idx3-ubyte", "idx3-ubyte.gz", ".idx3", ".idx3.gz"),
    "table": (".parquet", ".parq", ".pq"),
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz"),
}
_BEGINNINGS: dict[bytes, Kind] = {
    b"\x89PNG": "picture",
    b"\xff\xd8\xff": "picture",
    b"\0\0\x08\x03": "idx",
    b"\x1f\x8b": "idx",
    b"PAR1": "table",
}
_READ_BY: dict[str, tuple[Kind, ...]] = {
    "images": ("picture", "idx", "table"),
    "sequences": ("table", "csv"),
}
_NAMES: dict[Kind, str] = {
    "picture": "PNG and JPEG",
    "idx": "idx",
    "table": "Parquet",
    "csv": "CSV",
}


@dataclass(frozen=True)
class FoundFile:
    """One file, or for Parquet also a URI that names several."""

    kind: Kind
    path: str


def find_inputs(inputs: Sequence[str], shape: DataShape) -> list[FoundFile]:
    """Return the files that are named, each once, in the order in which they are named.

    Those of a folder or a pattern are in the order of their paths.

    Raises InputError if a file is missing, or is not of a kind that the model reads.
    """
    reads = "images" if isinstance(shape.input, ImageInput) else "sequences"
    found: dict[str, FoundFile] = {}
    for name in inputs:
        for file in _named(name, reads):
            found.setdefault(os.path.abspath(file.path) if _is_path(name) else file.path, file)  # noqa: PTH100
    return list(found.values())


def _is_path(name: str) -> bool:
    return "://" not in name


def _named(name: str, reads: str) -> Iterator[FoundFile]:
    if not _is_path(name):
        yield _checked(FoundFile("table", name), reads)
        return
    path = os.path.expanduser(name)  # noqa: PTH111  # Path.expanduser raises for unknown users
    if os.path.isdir(path):  # noqa: PTH112
        yield from _in_folder(path, reads)
    elif os.path.exists(path):  # noqa: PTH110
        yield _checked(FoundFile(_kind_of(path, reads), path), reads)
    else:
        yield from _matching(path, reads)


def _in_folder(folder: str, reads: str) -> list[FoundFile]:
    """Return the files of a folder that the model reads. Hidden ones are left out."""
    paths = sorted(
        (Path(parent, name) for parent, _, names in os.walk(folder) for name in names),
        key=lambda path: path.parts,
    )
    found = []
    for path in paths:
        is_hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        kind = None if is_hidden else _by_ending(path.name)
        if kind in _READ_BY[reads]:
            found.append(FoundFile(kind, str(path)))
    if not found:
        raise InputError(
            f"the folder {folder} has no file that the model reads, which are {_kinds(reads)}",
            "name another folder, or the files themselves",
        )
    return found


def _matching(pattern: str, reads: str) -> list[FoundFile]:
    paths = [path for path in sorted(glob.glob(pattern, recursive=True)) if Path(path).is_file()]  # noqa: PTH207
    if not paths:
        what = "matches no file" if glob.has_magic(pattern) else "does not exist"
        raise InputError(f"{pattern} {what}", f"name files with {_kinds(reads)}")
    return [_checked(FoundFile(_kind_of(path, reads), path), reads) for path in paths]


def _by_ending(name: str) -> Kind | None:
    lower = name.lower()
    return next((kind for kind, ends in _ENDINGS.items() if lower.endswith(ends)), None)


def _kind_of(path: str, reads: str) -> Kind:
    """Return what a file is, by its name, else by its first bytes. Raises InputError."""
    if kind := _by_ending(Path(path).name):
        return kind
    try:
        with open(path, "rb") as file:
            start = file.read(4)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "name another file") from error
    kinds = [kind for begin, kind in _BEGINNINGS.items() if start.startswith(begin)]
    if not kinds:
        raise InputError(
            f"{path} is none of the files that the model reads, which are {_kinds(reads)}",
            "give its name the usual ending, or name another file",
        )
    return kinds[0]


def _checked(file: FoundFile, reads: str) -> FoundFile:
    if file.kind not in _READ_BY[reads]:
        raise InputError(
            f"{file.path} is a file of {_NAMES[file.kind]}, and the model reads {reads}",
            f"name files with {_kinds(reads)}",
        )
    return file


def _kinds(reads: str) -> str:
    *first, last = (_NAMES[kind] for kind in _READ_BY[reads])
    return f"{', '.join(first)} and {last}"
