"""A file that grows while a job runs: appended to where the storage can, else written anew."""

import threading

from workers.storage import Storage, explained


class GrowingFile:
    """Any thread may call; of a remote one only one thread may flush, or an older content could
    replace a newer one."""

    def __init__(self, storage: Storage, name: str, content: bytes = b"") -> None:
        """Writes the file with its first content. Raises StorageError."""
        storage.write(name, content)
        self._storage, self._name = storage, name
        self._lock = threading.Lock()
        local = storage.local_path
        # Without a buffer of its own, which would lose what a full disk did not take.
        self._file = open(local / name, "ab", buffering=0) if local else None  # noqa: SIM115
        self._kept = bytearray(b"" if local else content)
        """What is not in the file yet; of a remote one all of it."""

    @property
    def appends(self) -> bool:
        """Whether a flush is cheap."""
        return self._file is not None

    def add(self, data: bytes) -> None:
        """Kept in memory until the next flush."""
        with self._lock:
            self._kept += data

    def flush(self) -> None:
        """Raises StorageError; what the file did not take is kept for the next flush."""
        if self._file is None:
            with self._lock:
                content = bytes(self._kept)
            self._storage.write(self._name, content)
            return
        with self._lock, explained("write", self._storage.where(self._name)):
            while self._kept:
                del self._kept[: self._file.write(self._kept)]

    def close(self) -> None:
        """Without a flush."""
        if self._file:
            self._file.close()
