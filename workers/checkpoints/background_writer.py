"""One thread that writes checkpoints in the background, while training goes on."""

import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)
Write = Callable[[], None]


class CheckpointWriter:
    """Does the writes one after the other, in the order in which they were put.

    If a write fails, the later ones are skipped, and every later call raises its error. A context
    manager: at the end of the block, all writes are done.
    """

    def __init__(self) -> None:
        # One write may wait while another one is done: memory holds at most two snapshots, and
        # training waits only if the storage is slower than training.
        self._writes: queue.Queue[Write | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        # A daemon, because a second Ctrl-C must not wait for this thread.
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    @property
    def is_busy(self) -> bool:
        """Whether a write is being done or waits."""
        return self._writes.unfinished_tasks > 0

    def put(self, write: Write) -> None:
        """Add a write that must not be skipped. This waits if another write waits already."""
        self.check()
        self._writes.put(write)

    def put_if_idle(self, write: Write) -> None:
        """Add a write that will be due again. It is skipped if the thread is busy."""
        if not self.is_busy:
            self.put(write)

    def drain(self) -> None:
        """Return after all writes are done. Raises the error of the first that failed."""
        self._writes.join()
        self.check()

    def check(self) -> None:
        """Raise the error of the first write that failed, if one has."""
        if self._error:
            raise self._error

    def _run(self) -> None:
        while write := self._writes.get():
            try:
                if self._error is None:
                    write()
            except BaseException as error:  # noqa: BLE001  # raised again in the training thread
                self._error = error
            finally:
                self._writes.task_done()
        self._writes.task_done()

    def __enter__(self) -> "CheckpointWriter":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writes.put(None)
        self._thread.join()
        if self._error and error is None:
            raise self._error
        if self._error and self._error is not error:
            # The run ends with the other error, which the user is shown.
            log.info("a checkpoint could not be written, either: %s", self._error)
