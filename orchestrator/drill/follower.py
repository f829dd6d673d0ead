"""What a run says of itself while it goes on: the record that remains has each step once, this one
the steps, too, that a fault cost."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from orchestrator.drill.damage import whole_checkpoints
from orchestrator.drill.plan import STORAGE, Fault
from workers.jsons import Json
from workers.run_folder import MetricsTail, RunFolder


class Follower:
    """Reads the records of a run as they come, and keeps each that ever was."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self.records: list[Json] = []
        self._tail = MetricsTail(run)
        self._seen: set[tuple[str, int, float]] = set()

    def look(self) -> None:
        for record in self._tail.read():
            # After a restart the file is written anew: the same records come again.
            one = (record["kind"], record.get("step", 0), record["time"])
            if one not in self._seen:
                self._seen.add(one)
                self.records.append(record)

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Within it, another thread looks, so that this one can wait for something else."""
        done = threading.Event()

        def look() -> None:
            while not done.wait(self.run.poll_s):
                self.look()

        thread = threading.Thread(target=look, name="follower", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    @property
    def step(self) -> int:
        """The highest that was ever done."""
        return max((r["step"] for r in self.records if r["kind"] == "step"), default=0)

    @property
    def attempt(self) -> int:
        """How often the workers have started."""
        return max((r["attempt"] for r in self.records if r["kind"] == "start"), default=0)

    @property
    def workers(self) -> int:
        """Of the last start; 0 before the first."""
        return next((r["workers"] for r in reversed(self.records) if r["kind"] == "start"), 0)

    def wait_for(self, fault: Fault, is_over: Callable[[], bool]) -> bool:
        """Returns when a fault is due; False where the run was over before.

        Damage is due only once there is a checkpoint to be damaged.
        """
        return self.wait_until(
            lambda: (
                self.step >= fault.step
                and (fault.kind != STORAGE or bool(whole_checkpoints(self.run)))
            ),
            is_over,
        )

    def wait_until(self, is_due: Callable[[], bool], is_over: Callable[[], bool]) -> bool:
        """Keeps looking until a condition on the records holds; False where the run ended first."""
        while True:
            # Asked before reading: what a run wrote before it ended must not be missed.
            over = is_over()
            self.look()
            if is_due():
                return True
            if over:
                return False
            time.sleep(self.run.poll_s)
