"""The code of a model as a run has it: a few small files, their hash, their place in the folder.

The run folder is the only place from which workers, `resume` and `reproduce` take the code. The
hash is in job.yaml, among what decides the result. It shows damage, and not who made it: whoever
may write into the folder can change both.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from workers.errors import StorageError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage
from workers.storage.typed_json import parse_object

MAX_FILES = 1000
MAX_FILE_BYTES = 2**20
MAX_BYTES = 2**24
"""The limits of a model's code. Weights and data do not belong to it."""


@dataclass(frozen=True)
class ModelCode:
    """The files of a model's code."""

    files: Mapping[str, bytes]
    """The content of each file, by its path relative to the code's folder, with `/`."""
    beside: frozenset[str] = frozenset()
    """The names of modules beside a model in one file, which are no part of it."""

    @property
    def sha256(self) -> str:
        """The hash of all paths and contents, in the order of the paths."""
        digest = hashlib.sha256()
        for path in sorted(self.files):
            content = hashlib.sha256(self.files[path]).hexdigest()
            digest.update(f"{path}\0{content}\n".encode())
        return digest.hexdigest()

    def unpack(self, folder: Path) -> None:
        """Write the files below an empty folder of this machine."""
        for path, content in self.files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


def write_code(run: RunFolder, code: ModelCode) -> None:
    """Write the code into a run folder. Raises StorageError."""
    for path, content in code.files.items():
        folder, _, name = f"{run.MODEL_CODE}/{path}".rpartition("/")
        place = run.storage.child(folder)
        place.create()
        place.write(name, content)
    run.write_json(run.MODEL_FILES, {"schema_version": 1, "files": sorted(code.files)})


def read_code(run: RunFolder, sha256: str) -> ModelCode:
    """Return the code of a run. Raises StorageError if it is not the code with this hash."""
    folder = run.storage.child(run.MODEL_CODE)
    try:
        names = _names(run)
        files: dict[str, bytes] = {}
        for name in names:
            files[name] = folder.read(name, MAX_FILE_BYTES)
            if sum(map(len, files.values())) > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES:,} bytes")
    except FileNotFoundError as error:
        raise _damaged(folder, f"{error} is missing") from error
    except ValueError as error:
        raise _damaged(folder, str(error)) from error
    code = ModelCode(files)
    if code.sha256 != sha256:
        raise _damaged(folder, "it was changed: its hash is not the one in job.yaml")
    return code


def _names(run: RunFolder) -> list[str]:
    """Return the paths of the files. Raises ValueError, FileNotFoundError or StorageError."""
    names = parse_object(run.storage.read(run.MODEL_FILES)).get("files")
    if not isinstance(names, list) or not 0 < len(names) <= MAX_FILES:
        raise ValueError(f"{run.MODEL_FILES} does not list its files")
    for name in names:
        if not (isinstance(name, str) and is_safe(name)):
            raise ValueError(f"{run.MODEL_FILES} lists {str(name)[:80]!r}, which is no path in it")
    return names


def is_safe(path: str) -> bool:
    """Return whether a path of a file stays in the folder to which it is relative."""
    parts = path.split("/")
    return (
        path == str(PurePosixPath(path))
        and path.isprintable()
        and not any(part in ("", ".", "..") or "\\" in part or ":" in part for part in parts)
    )


def _damaged(folder: Storage, why: str) -> StorageError:
    return StorageError(
        f"the model's code in {folder.where()} cannot be used: {why}",
        "restore it from a copy of the run folder, or start a new run with your own copy: --model",
    )
