"""What nothing needs: one file or folder, with the reason."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.storage.storage import Storage

DATA_SET, CHECKPOINT, LOGS, LEFTOVER = "data set", "checkpoint", "logs", "leftover"
KINDS = (DATA_SET, CHECKPOINT, LOGS, LEFTOVER)


@dataclass(frozen=True)
class Unneeded:
    """A file or folder that may be removed."""

    kind: str
    """One of KINDS."""
    where: str
    why: str
    """Why nothing needs it, as part of a sentence."""
    num_bytes: int
    folder: Storage
    """The folder that is removed, or that contains the file."""
    file: str = ""
    """The name of the file, if it is one."""
    is_still_unneeded: Callable[[], bool] = lambda: True
    """Looks again, just before it is removed."""

    def remove(self) -> bool:
        """Remove it, unless it is needed by now. Return whether it was removed.

        Raises StorageError.
        """
        if not self.is_still_unneeded():
            return False
        if self.file:
            self.folder.delete_file(self.file)
        else:
            self.folder.delete()
        return True


@dataclass(frozen=True)
class Cutoff:
    """The moment since which nothing may have touched what is removed.

    It is what protects whatever cannot be seen from here: a job of another storage that reads the
    same cache, or a process on another machine that is about to rename its temporary file.
    """

    time: float
    """Unix seconds."""

    def unneeded(
        self,
        kind: str,
        folder: Storage,
        why: str,
        used: float = 0.0,
        is_still_unneeded: Callable[[], bool] = lambda: True,
    ) -> Iterator[Unneeded]:
        """Yield the folder, unless it or a file in it was touched since, or it is not there.

        `used`: when it was used last, if that is known.
        """
        files = folder.files()
        path = folder.local_path
        if path is not None:
            used = max(used, path.lstat().st_mtime if path.exists() else self.time)
        elif not files:
            return
        if max([used, *(file.modified for file in files)]) < self.time:
            size = sum(file.size for file in files)
            yield Unneeded(
                kind, folder.where(), why, size, folder, is_still_unneeded=is_still_unneeded
            )
