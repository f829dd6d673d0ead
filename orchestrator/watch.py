"""Beside the training: keeps a run's status true, and asks for a stop at its time limit."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.units import show_duration
from workers.errors import NoSuchRunError, StorageError
from workers.jsons import Json
from workers.run_folder import PREEMPTION, RESUME, MetricsTail, RunFolder, StopRequest

log = logging.getLogger(__name__)
_TAKEN_OVER_EXIT = 5


def leave() -> None:
    """The process ends here and now, and with a driver its workers."""
    os._exit(_TAKEN_OVER_EXIT)


def stay() -> None:
    """Only the watch ends."""


class Watch:
    """A context around the training of one run, by the process that `status` names."""

    def __init__(self, run: RunFolder, status: RunStatus, leave: Callable[[], None]) -> None:
        """`leave`: called when the run is no longer this process's. It must touch nothing then."""
        self.status = status
        self.limit_s: float | None = None
        self._run, self._leave = run, leave
        self._tail = MetricsTail(run)
        self._num_entries = len(run.failures())
        self._deadline: float | None = None
        """Of a node that is about to be taken away."""
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._done.set()
        self._thread.join()
        self._see_starts()

    def say(self, reason: str) -> None:
        """Why the job does not run yet; shown with its state."""
        if reason != self.status.reason:
            log.info("waiting: %s", reason)
            self._write(reason=reason)

    def _write(self, **changes: Any) -> None:
        self.status = replace(self.status, **changes)
        runs.write_status(self._run, self.status)

    def _watch(self) -> None:
        asked = False
        while not self._done.wait(self._run.poll_s):
            # A storage that fails ends the training, which says why.
            with contextlib.suppress(StorageError):
                if self._is_taken_over():
                    log.error("another process has taken the run over: leaving it")
                    self._leave()
                    return
                self._see_failures()
                self._see_starts()
                asked = asked or self._stop_if_late()

    def _is_taken_over(self) -> bool:
        """Somebody gave this process up, and perhaps resumed the run elsewhere."""
        try:
            there = runs.read_status(self._run)
        except NoSuchRunError:
            return False  # torn away below us: the next write says so
        if (there.host, there.pid, there.job_id) != self._me or there.state == runs.STOPPED:
            return True
        if there.has_outcome:  # somebody who could not see it took it for dead
            self._write()
        return False

    @property
    def _me(self) -> tuple[str, int | None, str]:
        return self.status.host, self.status.pid, self.status.job_id

    def _stop_if_late(self) -> bool:
        started = self.status.started_at
        if not self.limit_s or not started or time.time() - started <= self.limit_s:
            return False
        reason = f"time limit of {show_duration(self.limit_s)} reached"
        self._run.ask_to_stop(StopRequest(reason, 124))
        return True

    def _see_failures(self) -> None:
        """RESTARTING from a failure of the workers until they start again, or the job ends. One
        whose node is to be taken away runs on until then."""
        entries = self._run.failures()
        new, self._num_entries = entries[self._num_entries :], len(entries)
        for entry in new:
            if entry.get("kind") != RESUME:
                self._take_in(entry)
        if self._deadline and time.time() > self._deadline:
            self._deadline = None
            self._write(state=runs.RESTARTING)

    def _take_in(self, entry: Json) -> None:
        reason, deadline = str(entry.get("reason", "")), entry.get("deadline")
        if entry.get("kind") == PREEMPTION and isinstance(deadline, float):
            self._deadline = deadline
            self._write(reason=reason)
        else:
            self._write(state=runs.RESTARTING, reason=reason)

    def _see_starts(self) -> None:
        """RUNNING from the first start of the workers on; a later one is another attempt."""
        for record in self._tail.read():
            if record.get("kind") == "start" and record.get("attempt", 0) > self.status.attempt:
                reason = self._why_again(record["workers"])
                self._deadline = None
                self._write(
                    state=runs.RUNNING,
                    reason=reason,
                    attempt=record["attempt"],
                    workers=record["workers"],
                    started_at=self.status.started_at or record["time"],
                )

    def _why_again(self, num_workers: int) -> str:
        before = self.status
        if before.state == runs.RESTARTING or self._deadline:
            return f"restarted: {before.reason}"
        if before.state == runs.RUNNING and before.workers != num_workers:
            return f"resized from {before.workers} to {num_workers} workers"
        return ""
