"""Beside the training: keep a run's status true, and ask for a stop at its time limit."""

import contextlib
import logging
import threading
import time
from dataclasses import replace
from typing import Any

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.units import show_duration
from workers.errors import NoSuchRunError, StorageError, TakenOverError
from workers.records.owners import Fence
from workers.records.run_folder import PREEMPTION, RESUME, MetricsTail, RunFolder, StopRequest
from workers.storage.typed_json import Json

log = logging.getLogger(__name__)


class StatusUpdater:
    """A context manager around the training of one run, in the process that owns it.

    Its thread reads what the workers record and writes the state that follows from it.
    """

    def __init__(self, run: RunFolder, status: RunStatus, fence: Fence) -> None:
        self.status = status
        self.limit_s: float | None = None
        self._run, self._fence = run, fence
        self._tail = MetricsTail(run)
        self._num_failures = len(run.failures())
        self._deadline: float | None = None
        """When a node is about to be taken away."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._update, name="status", daemon=True)

    def __enter__(self) -> "StatusUpdater":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()
        self._read_starts()

    def say(self, reason: str) -> None:
        """Write why the job does not run yet. The reason is shown beside its state."""
        if reason != self.status.reason:
            log.info("waiting: %s", reason)
            self._write(reason=reason)

    def _write(self, **changes: Any) -> None:
        """Raises TakenOverError, or StorageError."""
        self._fence.check()
        self.status = replace(self.status, **changes)
        runs.write_status(self._run, self.status)

    def _update(self) -> None:
        has_asked = False
        while not self._done.wait(self._run.poll_s):
            # A storage that fails ends the training, which then says why.
            with contextlib.suppress(StorageError, NoSuchRunError):
                try:
                    self._tell_again_if_taken_for_dead()
                    self._read_failures()
                    self._read_starts()
                    has_asked = has_asked or self._ask_to_stop_if_late()
                except TakenOverError:
                    return

    def _tell_again_if_taken_for_dead(self) -> None:
        """Write the status again after an observer that could not see this process wrote its
        end."""
        if runs.read_status(self._run).has_outcome:
            self._write()

    def _ask_to_stop_if_late(self) -> bool:
        started = self.status.started_at
        if not self.limit_s or not started or time.time() - started <= self.limit_s:
            return False
        reason = f"time limit of {show_duration(self.limit_s)} reached"
        self._run.ask_to_stop(StopRequest(reason, 124))
        return True

    def _read_failures(self) -> None:
        """Write RESTARTING when workers have failed, until they start again or the job ends.

        Workers whose node is to be taken away run on until its deadline.
        """
        entries = self._run.failures()
        new, self._num_failures = entries[self._num_failures :], len(entries)
        for entry in new:
            if entry.get("kind") != RESUME:
                self._apply_failure(entry)
        if self._deadline and time.time() > self._deadline:
            self._deadline = None
            self._write(state=runs.RESTARTING)

    def _apply_failure(self, entry: Json) -> None:
        reason, deadline = str(entry.get("reason", "")), entry.get("deadline")
        if entry.get("kind") == PREEMPTION and isinstance(deadline, float):
            self._deadline = deadline
            self._write(reason=reason)
        else:
            self._write(state=runs.RESTARTING, reason=reason)

    def _read_starts(self) -> None:
        """Write RUNNING once the workers have started. A later start is another attempt."""
        for record in self._tail.read():
            if record.get("kind") == "start" and record.get("attempt", 0) > self.status.attempt:
                reason = self._why_started_again(record["workers"])
                self._deadline = None
                self._write(
                    state=runs.RUNNING,
                    reason=reason,
                    attempt=record["attempt"],
                    workers=record["workers"],
                    started_at=self.status.started_at or record["time"],
                )

    def _why_started_again(self, num_workers: int) -> str:
        before = self.status
        if before.state == runs.RESTARTING or self._deadline:
            return f"restarted: {before.reason}"
        if before.state == runs.RUNNING and before.workers != num_workers:
            return f"resized from {before.workers} to {num_workers} workers"
        return ""
