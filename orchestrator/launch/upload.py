"""What of a folder is uploaded with a job: listed once, shown to the user, and sent as listed."""

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.launch.upload_lister import LeftOut, ListedFile, Lister
from orchestrator.units import show_bytes
from workers.errors import InputError

_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of all files in an archive: equal content is an equal package, which Ray keeps."""


@dataclass(frozen=True)
class Upload:
    """What is sent of a folder, and what is not. All paths are relative to the folder."""

    folder: Path
    entries: tuple[ListedFile, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def num_bytes(self) -> int:
        return sum(entry.num_bytes for entry in self.entries)

    @property
    def largest(self) -> str:
        """The path and size of the largest file, as text."""
        largest = max(self.entries, key=lambda entry: entry.num_bytes, default=None)
        return f"{largest.path} ({show_bytes(largest.num_bytes)})" if largest else "none"

    def to_json(self) -> dict[str, Any]:
        """Return the number and size of the files."""
        return {
            "path": str(self.folder),
            "size": show_bytes(self.num_bytes),
            "largest": self.largest,
            "num_files": sum(not entry.is_folder for entry in self.entries),
            "num_bytes": self.num_bytes,
        }

    def names_to_json(self) -> dict[str, Any]:
        """Return everything that is sent, and everything that is left out with its reason."""
        return {
            "path": str(self.folder),
            "files": [{"path": e.path, "num_bytes": e.num_bytes} for e in self.entries],
            "left_out": [{"path": e.path, "reason": ", ".join(e.reasons)} for e in self.left_out],
        }

    def write_zip(self, target: Path) -> None:
        """Write what is sent into an archive. Raises InputError if it cannot be read any more."""
        try:
            with zipfile.ZipFile(target, "w") as archive:
                for entry in self.entries:
                    _write(archive, self.folder / entry.path, entry.path)
        except OSError as error:
            raise _cannot_pack(self.folder, error) from error


def list_upload(folder: Path, include: tuple[str, ...] = (), *, is_package: bool = False) -> Upload:
    """List what is sent of a folder.

    Args:
        include: patterns, relative to the folder, of what is sent although a rule says otherwise.
        is_package: whether it is a package of ours, which Ray packs by its own rules.

    Raises InputError if there is no such folder, if it cannot be read, or if a pattern of `include`
    matches nothing.
    """
    if not folder.is_dir():
        raise InputError(f"the working directory {folder} does not exist", "check --working-dir")
    lister = Lister(folder.resolve(), include, has_own_rules=not is_package)
    try:
        found = lister.list_all()
    except OSError as error:
        raise _cannot_pack(folder, error) from error
    if unused := lister.unused_patterns():
        raise InputError(
            f"--include {unused[0]} matches nothing in {folder}",
            "give paths or patterns relative to that folder, for example --include 'conf/*.pem'",
        )
    return Upload(folder, tuple(found.sent), tuple(found.left_out))


def _write(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    info = zipfile.ZipInfo.from_file(file, name, strict_timestamps=False)
    info.date_time = _TIME
    if info.is_dir():
        archive.writestr(info, b"")
        return
    with open(file, "rb") as source, archive.open(info, "w") as target:
        shutil.copyfileobj(source, target)


def _cannot_pack(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot pack {error.filename or folder}: {error.strerror}",
        "make it readable, list it in .rayignore, or choose another --working-dir",
    )
