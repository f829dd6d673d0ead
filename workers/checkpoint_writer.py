"""One thread that writes what training hands over, so that training goes on meanwhile."""

import logging
import queue
import threading
from collections.abc import Callable
from types import TracebackType

log = logging.getLogger(__name__)
Write = Callable[[], None]


class CheckpointWriter:
    """Writes one thing after the other, in the order in which they came.

    After a write that failed the later ones are left out, and its error is raised by every call
    from then on. A context: when it is left, all is written.
    """

    def __init__(self) -> None:
        # One may wait while another is written: memory holds two snapshots at most, and training
        # waits only where the storage is slower than it.
        self._writes: queue.Queue[Write | None] = queue.Queue(maxsize=1)
        self._error: BaseException | None = None
        # A daemon: a second Ctrl-C must not wait for it.
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)

    @property
    def is_busy(self) -> bool:
        """Whether something is being written, or waits for it."""
        return self._writes.unfinished_tasks > 0

    def put(self, write: Write) -> None:
        """Hands over a write that must not be lost; waits where another waits already."""
        self.check()
        self._writes.put(write)

    def put_if_idle(self, write: Write) -> None:
        """Hands over a write that will be due again: where the thread is busy it is left out."""
        if not self.is_busy:
            self.put(write)

    def drain(self) -> None:
        """Returns once all that was handed over is on storage."""
        self._writes.join()
        self.check()

    def check(self) -> None:
        """Raises what a write failed with."""
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
            # The run ends with the other one, which is told to the user.
            log.info("a checkpoint could not be written, too: %s", self._error)
