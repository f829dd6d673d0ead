"""Keep a job of this machine going while the process that started it does something else."""

import threading
import time

from orchestrator import runs
from orchestrator.launch.launcher import Launcher
from orchestrator.observe.endings import record_death, record_kill
from workers.errors import JobError
from workers.records.run_folder import RunFolder, StopRequest


class Attendant:
    """A thread that does what a follower does for a job: it lets the launcher start a dead driver
    again, and records the end of a job that could not do so itself."""

    def __init__(self, run: RunFolder, launcher: Launcher) -> None:
        """Attend to a job that was just started."""
        self._run, self._launcher = run.with_retries(), launcher
        self._lock = threading.Lock()  # a launcher is asked and told one thing at a time
        self._killed_for: StopRequest | None = None
        self.failure: JobError | None = None
        """Why the end of the job could not be recorded."""
        self._thread = threading.Thread(target=self._attend, name="attendant", daemon=True)
        self._thread.start()

    @property
    def is_at_work(self) -> bool:
        """Whether the job's processes still run, or its end has yet to be recorded."""
        return self._thread.is_alive()

    @property
    def can_end_at_once(self) -> bool:
        """Whether the job has processes of its own; a thread cannot be ended."""
        return self._launcher.mode != runs.LOCAL

    def join(self, timeout_s: float | None = None) -> None:
        """Return once nothing of the job runs any more and its end is recorded."""
        self._thread.join(timeout_s)

    def end_at_once(self, request: StopRequest) -> None:
        """End the job without a checkpoint, if it can be. Else it stops as it was asked to."""
        if not self.can_end_at_once:
            return
        self._killed_for = request
        with self._lock:
            self._launcher.kill(self._run)
        self.join()

    def _attend(self) -> None:
        while self._lives():
            time.sleep(self._run.poll_s)
        try:
            self._record_end()
        except JobError as error:  # the storage is full or gone
            self.failure = error

    def _record_end(self) -> None:
        if self._killed_for:
            record_kill(self._run, self._killed_for)
            return
        status = runs.read_status(self._run)
        if not status.has_outcome:
            record_death(self._run, self._launcher, status)

    def _lives(self) -> bool:
        try:
            with self._lock:
                return self._launcher.is_alive(self._run)
        except (JobError, OSError):  # a driver that died cannot be started again
            return False
