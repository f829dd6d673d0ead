"""Decide when worker 0 takes a checkpoint, and have it written while training goes on."""

import logging
import math
import time
from collections.abc import Callable
from types import TracebackType

from workers.checkpoints.background_writer import CheckpointWriter, Write
from workers.checkpoints.checkpoint import Checkpoint, Checkpoints
from workers.config import CheckpointConfig
from workers.records.resize import ResizeAnswers
from workers.records.run_folder import PREEMPTION, RunFolder
from workers.worker import Notice

log = logging.getLogger(__name__)
_LAST_SAVE_S = 6.0
"""Seconds between the start of the last checkpoint and the moment a machine is taken away."""


class Saver:
    """Saves the checkpoints of worker 0.

    A context manager: at the end of the block, all checkpoints that were taken are written.
    """

    def __init__(
        self,
        run: RunFolder,
        config: CheckpointConfig,
        take: Callable[[], Checkpoint],
        resizes: ResizeAnswers | None = None,
    ) -> None:
        """
        Args:
            take: returns a checkpoint of this moment, which later training steps do not change.
            resizes: what asks for a checkpoint before the number of workers changes; None if it
                never does.
        """
        self._resizes = resizes
        self._run, self._config, self._take = run, config, take
        self._checkpoints = Checkpoints(run, config)
        self._writer = CheckpointWriter()
        self._is_due = False
        self._saved_at = time.monotonic()
        self._notice_ranks: list[int] = []
        self._last_save_at = math.inf
        self.before_each_write: Callable[[], None] = lambda: None
        """Called in the writer's thread before it writes a checkpoint. It writes what must be in
        the storage first."""

    def save(self, wait: bool = False) -> None:
        """Take a checkpoint. It is written while training goes on.

        `wait`: return only after it is in the storage.

        Raises the error of an earlier write that failed; with `wait`, also of this one.
        """
        self._saved_at, self._is_due = time.monotonic(), False
        checkpoint = self._take()
        self._writer.put(lambda: self._write(checkpoint))
        if wait:
            self._writer.drain()

    def save_if_due(self, step: int, may_be_taken: bool) -> None:
        """Take a checkpoint if one is due. To be called after each step.

        A checkpoint that is due is postponed while another one is being written, and while
        `may_be_taken` is false. Raises the error of an earlier write that failed.
        """
        by_steps = self._config.every_steps and step % self._config.every_steps == 0
        elapsed_s = time.monotonic() - self._saved_at
        by_time = self._config.every_s and elapsed_s >= self._config.every_s
        self._is_due = self._is_due or bool(by_steps or by_time)
        self._writer.check()
        if may_be_taken and self._is_due and not self._writer.is_busy:
            self.save()
        if self._resizes and self._resizes.is_asked():
            log.info("checkpoint at step %d, before the number of workers changes", step)
            self.save(wait=True)
            self._resizes.answer_and_wait()

    def handle_notice(self, notice: Notice, step: int) -> None:
        """Save at the first notice that a machine is taken away, and again just before that.

        The second checkpoint keeps small the number of steps that are computed again.
        """
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

    def write_if_idle(self, write: Write) -> None:
        """Run a write in the writer's thread. It is skipped if the thread is busy."""
        self._writer.put_if_idle(write)

    def _write(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint. Called in the writer's thread."""
        self.before_each_write()
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
