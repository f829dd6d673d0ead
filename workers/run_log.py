"""What a process logs, in the run folder: it outlives the cluster that the process ran on."""

import contextlib
import logging
import time
from collections.abc import Iterator

from workers.errors import StorageError
from workers.run_folder import RunFolder

_FLUSH_S = 10.0
_PACKAGES = ("orchestrator", "workers")
FORMAT = "%(asctime)s.%(msecs)03d %(levelname)s %(message)s"
DATE_FORMAT = "%Y-%m-%d %H:%M:%S"


def _encoded(text: str) -> bytes:
    return text.encode(errors="backslashreplace")


class RunLog(logging.Handler):
    """Appends to `logs/<name>.log`. Where storage cannot append, the file is written anew every few
    seconds and at the end. A log that cannot be written never ends a job."""

    def __init__(self, run: RunFolder, name: str) -> None:
        super().__init__()
        self._storage, self._file = run.storage.child(run.LOGS), f"{name}.log"
        self._lines: list[str] = []
        self._flushed = time.monotonic()
        self._earlier: str | None = None
        """What the file held before; None: not known yet."""
        with contextlib.suppress(StorageError):
            self._storage.create()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record) + "\n"
        if path := self._storage.local_path:
            with contextlib.suppress(OSError), open(path / self._file, "ab") as file:
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
            return self._storage.read(self._file).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def close(self) -> None:
        self.flush()
        super().close()


@contextlib.contextmanager
def logged(handler: logging.Handler) -> Iterator[None]:
    """Within it, the handler gets what this project's modules log, from INFO on.

    It hangs on their own loggers, not on the root: Ray configures that one to its own liking.
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
