"""Write the log of a process into the run folder, where it outlives the cluster."""

import contextlib
import logging
import time
from collections.abc import Iterator

from workers.errors import RefusedFileError, StorageError
from workers.records.run_folder import RunFolder
from workers.storage.storage import LARGE_BYTES

_FLUSH_S = 10.0
_PACKAGES = ("orchestrator", "workers")
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


class RunLog(logging.Handler):
    """A logging handler that appends to `logs/<name>.log` in the run folder.

    On a remote storage, which cannot append, it writes the whole file every few seconds and at the
    end. A log that cannot be written never ends a job.
    """

    def __init__(self, run: RunFolder, name: str) -> None:
        super().__init__()
        self._storage, self._file = run.storage.child(run.LOGS), f"{name}.log"
        self._lines: list[str] = []
        self._flushed = time.monotonic()
        self._earlier: str | None = None
        """The content of the file before this process; None before the first flush read it."""
        with contextlib.suppress(StorageError):
            self._storage.create()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        if self._storage.local_path:
            with (
                contextlib.suppress(OSError, StorageError),
                self._storage.open_to_append(self._file) as file,
            ):
                file.write(_encoded(line))
            return
        self._lines.append(line)
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self._storage.local_path or not self._lines:
            return
        self._flushed = time.monotonic()
        with contextlib.suppress(StorageError):
            if self._earlier is None:
                self._earlier = self._read()
            self._storage.write(self._file, _encoded("".join((self._earlier, *self._lines))))

    def _read(self) -> str:
        try:
            return self._storage.read(self._file, LARGE_BYTES).decode(errors="replace")
        except (FileNotFoundError, RefusedFileError):
            return ""

    def close(self) -> None:
        self.flush()
        super().close()


@contextlib.contextmanager
def log_to(handler: logging.Handler) -> Iterator[None]:
    """Send the log messages of this project, from level INFO on, to a handler; close it at the end.

    The handler is added to the loggers of the packages and not to the root logger, because Ray
    configures the root logger itself.
    """
    loggers = [logging.getLogger(name) for name in _PACKAGES]
    handler.setFormatter(logging.Formatter(FORMAT, DATE_FORMAT))
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()
