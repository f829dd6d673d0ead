"""When worker 0 takes a checkpoint, and that it is written while training goes on."""

import logging
import math
import time
from collections.abc import Callable
from types import TracebackType

from workers.checkpoint import Checkpoint, Checkpoints
from workers.checkpoint_writer import CheckpointWriter, Write
from workers.config import CheckpointConfig
from workers.run_folder import PREEMPTION, RunFolder
from workers.worker import Notice

log = logging.getLogger(__name__)
_LAST_SAVE_S = 6.0
"""So long before a machine is taken away the last checkpoint is begun."""


class Saver:
    """Worker 0's; a context: when it is left, all that was taken is written."""

    def __init__(
        self, run: RunFolder, config: CheckpointConfig, take: Callable[[], Checkpoint]
    ) -> None:
        """`take`: a checkpoint of this moment, which training will not change."""
        self._run, self._config, self._take = run, config, take
        self._checkpoints = Checkpoints(run, config)
        self._writer = CheckpointWriter()
        self._is_due = False
        self._saved_at = time.monotonic()
        self._notice_ranks: list[int] = []
        self._last_save_at = math.inf
        self.before: Callable[[], None] = lambda: None
        """Called, in the writer's thread, before each checkpoint: what must be on storage first."""

    def save(self, wait: bool = False) -> None:
        """Takes a checkpoint and has it written while training goes on.

        `wait`: it is on storage when this returns. Raises what it, or one before it, failed with.
        """
        self._saved_at, self._is_due = time.monotonic(), False
        checkpoint = self._take()
        self._writer.put(lambda: self._write(checkpoint))
        if wait:
            self._writer.drain()

    def save_if_due(self, step: int, may_be_taken: bool) -> None:
        """After each step. One that is due is put off while another is being written, and where
        `may_be_taken` is false."""
        by_steps = self._config.every_steps and step % self._config.every_steps == 0
        elapsed_s = time.monotonic() - self._saved_at
        by_time = self._config.every_s and elapsed_s >= self._config.every_s
        self._is_due = self._is_due or bool(by_steps or by_time)
        self._writer.check()
        if may_be_taken and self._is_due and not self._writer.is_busy:
            self.save()

    def heed(self, notice: Notice, step: int) -> None:
        """Saves as soon as a machine is known to be taken away, and once more just before it is:
        what comes after that is computed again."""
        if notice.ranks != self._notice_ranks:
            self._notice_ranks = notice.ranks
            self._last_save_at = notice.deadline - _LAST_SAVE_S
            reason = f"the node of worker {', '.join(map(str, notice.ranks))} is taken away"
            log.warning("%s; checkpoint at step %d", reason, step)
            self.save(wait=True)
            self._run.note_failure(reason, PREEMPTION, deadline=notice.deadline)
        elif time.time() > self._last_save_at:
            self._last_save_at = math.inf
            self.save(wait=True)

    def later(self, write: Write) -> None:
        """Has the writer's thread do something that can as well be left out while it is busy."""
        self._writer.put_if_idle(write)

    def _write(self, checkpoint: Checkpoint) -> None:
        """In the writer's thread."""
        self.before()
        self._checkpoints.save(checkpoint)

    def __enter__(self) -> "Saver":
        self._writer.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, traceback)
