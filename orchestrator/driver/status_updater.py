"""Beside the training: keep a run's status true, and ask for a stop at its time limit."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from orchestrator import runs
from orchestrator.driver.standstill import StandstillWatch
from orchestrator.runs import RunStatus
from orchestrator.runs.progress import JobProgress, Reached
from orchestrator.units import show_duration
from workers.errors import NoSuchRunError, StorageError, TakenOverError
from workers.records.activity import Report
from workers.records.owners import Fence
from workers.records.run_folder import (
    PREEMPTION,
    RESUME,
    STANDSTILL,
    MetricsTail,
    RunFolder,
    StopRequest,
)
from workers.storage.typed_json import Json

log = logging.getLogger(__name__)


class Workers(Protocol):
    """The workers of a job, as far as they are watched. A `Trainer` has them."""

    def reports(self) -> list[Report]:
        """Return what each of them told last of what it does."""
        ...

    def end_workers(self) -> None:
        """End them, so that they are started again from the last checkpoint."""
        ...


class StatusUpdater:
    """A context manager around the training of one run, in the process that owns it.

    Its thread reads what the workers record and writes the state that follows from it.
    """

    def __init__(
        self,
        run: RunFolder,
        status: RunStatus,
        fence: Fence,
        tell: Callable[[str], None] = lambda line: None,
        show: Callable[[Mapping[str, str]], None] = lambda facts: None,
    ) -> None:
        """
        Args:
            tell: called with a line for each epoch, start and change of the state.
            show: called with the state and how far the job is, after each epoch and change of it.
        """
        self.status = replace(status, stalled_since=None, stalled="")
        self.limit_s: float | None = None
        self._trains_since: float | None = None
        """When the job started to train, by the monotonic clock."""
        self.workers: Workers | None = None
        """The workers that are watched for a standstill."""
        self.stall_timeout_s: float | None = None
        """After how long a standstill its workers are ended, so that they start again."""
        self._watch = StandstillWatch()
        self._ended_standstill: float | None = None
        self._run, self._fence = run, fence
        self._tail, self._tell, self._show = MetricsTail(run), tell, show
        self._progress = JobProgress(None)
        self._progress.begin_after(run.use_metrics(Reached.of))
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
        self._read_records()
        self.status = replace(self.status, stalled_since=None, stalled="")

    def say(self, reason: str) -> None:
        """Write why the job does not run yet. The reason is shown beside its state."""
        if reason != self.status.reason:
            log.info("waiting: %s", reason)
            self._write(reason=reason)

    def _write(self, **changes: Any) -> None:
        """Raises TakenOverError, or StorageError."""
        self._fence.check()
        before, self.status = self.status, replace(self.status, **changes)
        runs.write_status(self._run, self.status)
        now = self.status
        if (now.state, now.reason) != (before.state, before.reason):
            self._tell(f"{now.state}: {now.reason}" if now.reason else now.state)
            self._show_facts()

    def _update(self) -> None:
        has_asked = False
        while not self._done.wait(self._run.poll_s):
            # A storage that fails ends the training, which then says why.
            with contextlib.suppress(StorageError, NoSuchRunError):
                try:
                    self._tell_again_if_taken_for_dead()
                    self._read_failures()
                    self._read_records()
                    self._look_for_standstill()
                    has_asked = has_asked or self._ask_to_stop_if_late()
                except TakenOverError:
                    return

    def _tell_again_if_taken_for_dead(self) -> None:
        """Write the status again after an observer that could not see this process wrote its
        end."""
        if runs.read_status(self._run).has_outcome:
            self._write()

    def _look_for_standstill(self) -> None:
        """Write since when the workers stand still, and end them if that takes too long."""
        if self.workers is None:
            return
        is_running = self.status.state == runs.RUNNING
        found = self._watch.look(self.workers.reports()) if is_running else None
        since, told = (found.since, found.describe()) if found else (None, "")
        if (since, told) != (self.status.stalled_since, self.status.stalled):
            self._write(stalled_since=since, stalled=told)
        limit_s = self.stall_timeout_s
        if found is None or limit_s is None or found.for_s <= limit_s:
            return
        if found.since != self._ended_standstill:
            self._ended_standstill = found.since
            log.error("the workers stood still %s", told)
            self._run.note_failure(f"stood still for {show_duration(limit_s)} {told}", STANDSTILL)
            self.workers.end_workers()

    def _ask_to_stop_if_late(self) -> bool:
        if not self.limit_s or self._trained_s() <= self.limit_s:
            return False
        reason = f"time limit of {show_duration(self.limit_s)} reached"
        self._run.ask_to_stop(StopRequest(reason, 124))
        return True

    def _trained_s(self) -> float:
        """Return for how long the job has trained, also under an earlier driver.

        As long as this process lives, no clock counts that somebody may set.
        """
        now = time.monotonic()
        if self._trains_since is None:
            if not self.status.started_at:
                return 0.0
            self._trains_since = now - max(0.0, time.time() - self.status.started_at)
        return now - self._trains_since

    def _read_failures(self) -> None:
        """Write RESTARTING when workers have failed, until they start again or the job ends.

        Workers whose node is to be taken away run on until its deadline.
        """
        entries = self._run.failures()
        new, self._num_failures = entries[self._num_failures :], len(entries)
        for entry in new:
            if entry.get("kind") not in (RESUME, STANDSTILL):
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

    def _read_records(self) -> None:
        """Write RUNNING once the workers have started. A later start is another attempt."""
        records = self._tail.read()
        for record in records:
            if record.get("kind") == "start" and record.get("attempt", 0) > self.status.attempt:
                reason = self._why_started_again(record["workers"])
                self._deadline = None
                self._watch.start_again(record["workers"])
                self._write(
                    state=runs.RUNNING,
                    reason=reason,
                    attempt=record["attempt"],
                    workers=record["workers"],
                    started_at=self.status.started_at or record["time"],
                )

        for line in self._progress.take_up(self.status, records):
            self._tell(line)
        if any(record.get("kind") in ("epoch", "test") for record in records):
            self._show_facts()

    def _show_facts(self) -> None:
        self._show({"state": self.status.state, **self._progress.facts()})

    def _why_started_again(self, num_workers: int) -> str:
        before = self.status
        if before.state == runs.RESTARTING or self._deadline:
            return f"restarted: {before.reason}"
        if before.state == runs.RUNNING and before.workers != num_workers:
            return f"resized from {before.workers} to {num_workers} workers"
        return ""
