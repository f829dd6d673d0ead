"""A file that grows while a job runs.

On a local disk new data is appended. On a remote storage each flush writes the whole file again.
"""

import threading

from workers.storage.storage import Storage, storage_errors


class GrowingFile:
    """A file that any thread may add data to.

    Only one thread may flush a file on a remote storage: with two, older content could replace
    newer content.
    """

    def __init__(self, storage: Storage, name: str, content: bytes = b"") -> None:
        """Write the file with its first content. Raises StorageError."""
        storage.write(name, content)
        self._storage, self._name = storage, name
        self._lock = threading.Lock()
        self._file = storage.open_to_append(name) if storage.local_path else None
        self._pending = bytearray(b"" if self._file else content)
        """The data that the next flush writes: for a remote file, the whole content."""

    @property
    def appends(self) -> bool:
        """Whether a flush only appends new data, which is cheap."""
        return self._file is not None

    def add(self, data: bytes) -> None:
        """Keep data in memory until the next flush."""
        with self._lock:
            self._pending += data

    def flush(self) -> None:
        """Write all data that was added.

        Raises StorageError. Data that could not be written is kept for the next flush.
        """
        if self._file is None:
            with self._lock:
                content = bytes(self._pending)
            self._storage.write(self._name, content)
            return
        with self._lock, storage_errors("write", self._storage.where(self._name)):
            while self._pending:
                del self._pending[: self._file.write(self._pending)]

    def close(self) -> None:
        """Close the file without a flush."""
        if self._file:
            self._file.close()
