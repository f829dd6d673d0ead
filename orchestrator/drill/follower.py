"""Follow the metrics of a run while it goes on.

In the end, metrics.jsonl has each step once. A follower also keeps the records of the steps that a
fault made the run repeat.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from orchestrator.drill.checkpoint_damage import intact_steps
from orchestrator.drill.fault_schedule import STORAGE, Fault
from workers.records.run_folder import MetricsTail, RunFolder
from workers.storage.typed_json import Json


class Follower:
    """Reads the records of a run as they are written, and keeps all of them."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.records: list[Json] = []
        self._tail = MetricsTail(run)
        self._seen: set[tuple[str, int, float]] = set()

    def read(self) -> None:
        """Read the records that are new since the last call."""
        for record in self._tail.read():
            # A restart rewrites the file, so the tail returns the same records again.
            key = (record["kind"], record.get("step", 0), record["time"])
            if key not in self._seen:
                self._seen.add(key)
                self.records.append(record)

    @contextlib.contextmanager
    def reading_in_background(self) -> Iterator[None]:
        """Read in another thread, so that this one can wait for something else."""
        done = threading.Event()

        def keep_reading() -> None:
            while not done.wait(self.run.poll_s):
                self.read()

        thread = threading.Thread(target=keep_reading, name="follower", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def step(self) -> int:
        """The highest step that was ever done; 0 before the first."""
        return max((r["step"] for r in self.records if r["kind"] == "step"), default=0)

    @property
    def attempt(self) -> int:
        """How many times the workers have started."""
        return max((r["attempt"] for r in self.records if r["kind"] == "start"), default=0)

    @property
    def workers(self) -> int:
        """The number of workers at the last start; 0 before the first."""
        return next((r["workers"] for r in reversed(self.records) if r["kind"] == "start"), 0)

    def wait_for(self, fault: Fault, is_over: Callable[[], bool]) -> bool:
        """Wait until a fault is due. Returns False if the run ended before that.

        A STORAGE fault is due only once there is a checkpoint to damage.
        """
        return self.wait_until(
            lambda: (
                self.step >= fault.step and (fault.kind != STORAGE or bool(intact_steps(self.run)))
            ),
            is_over,
        )

    def wait_until(self, is_due: Callable[[], bool], is_over: Callable[[], bool]) -> bool:
        """Read until a condition on the records holds. Returns False if the run ended first."""
        while True:
            # Checked before reading, so that the last records before the run's end are not missed.
            over = is_over()
            self.read()
            if is_due():
                return True
            if over:
                return False
            time.sleep(self.run.poll_s)
