"""Small fakes at the two seams: what trains a job, and where it runs; and a job for them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.job_spec import JobSpec, build_spec
from orchestrator.plan import Plan
from orchestrator.runs import RunStatus
from tests.unit.idx_files import write_idx_files
from workers.jsons import Json
from workers.metrics_log import MetricsLog
from workers.run_folder import RunFolder, StopRequest
from workers.train import TrainResult

WEIGHTS = "c" * 64


def tiny_spec(folder: Path, **values: Any) -> JobSpec:
    """A job on 61 rows of 4 by 3 pixels in `folder`/idx, with its runs in `folder`/runs."""
    if not (folder / "idx").exists():
        write_idx_files(folder / "idx")
    flags = {
        "dataset.data_dir": str(folder / "idx"),
        "dataset.num_shards": 4,
        "training.global_batch_size": 12,
        "training.epochs": 2,
        "training.precision": "fp32",
        "storage": str(folder / "runs"),
    }
    return build_spec(flags={**flags, **values})


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class FakeTrainer:
    """Starts its workers once; `act` is the training."""

    def __init__(
        self,
        act: Callable[[RunFolder, Plan], TrainResult] | None = None,
        wait: Callable[[Callable[[str], None]], None] = lambda say: None,
    ) -> None:
        self.act = act or (lambda run, plan: finished())
        self.wait = wait
        self.run: RunFolder | None = None
        self.seen: list[str] = []
        """What happened, in order."""

    def __enter__(self) -> "FakeTrainer":
        self.seen.append("enter")
        return self

    def __exit__(self, *_: object) -> None:
        self.seen.append("exit")

    def wait_for_room(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        self.seen.append("wait")
        self.run = run
        self.wait(say)

    def settle_precision(self, gpu: bool) -> str:
        return "fp32"

    def train(self, plan: Plan) -> TrainResult:
        assert self.run is not None
        self.seen.append("train")
        return self.act(self.run, plan)


def start_workers(run: RunFolder, workers: int = 2, resumed_at: int = 0) -> None:
    """What worker 0 records first; returns once the status says RUNNING."""
    with MetricsLog(run, resumed_at) as log:
        attempt = log.attempt
        log.write(
            {
                "kind": "start",
                "step": resumed_at,
                "attempt": attempt,
                "workers": workers,
                "time": time.time(),
            }
        )
    wait_until(lambda: runs.read_status(run).attempt == attempt)


def finished(stopped: StopRequest | None = None) -> TrainResult:
    if stopped:
        return TrainResult(steps=3, epochs=[], stopped=stopped)
    return TrainResult(steps=6, epochs=[], weights_sha256=WEIGHTS)


class FakeLauncher:
    """A job that does one thing at each look of its follower, and is gone after the last."""

    mode = "fake"

    def __init__(
        self,
        *looks: Callable[[RunFolder], None],
        leaves_on_interrupt: bool = False,
        why: str = "",
        at_kill: Callable[[RunFolder], None] = lambda run: None,
    ) -> None:
        self.leaves_on_interrupt = leaves_on_interrupt
        self.killed = False
        self._looks = list(looks)
        self._why = why
        self._at_kill = at_kill

    def submit(self, run: RunFolder) -> None:
        pass

    def is_alive(self, run: RunFolder) -> bool:
        if not self._looks or self.killed:
            return False
        self._looks.pop(0)(run)
        return True

    def why_it_ended(self, run: RunFolder) -> str:
        return self._why

    def kill(self, run: RunFolder) -> bool:
        self.killed = True
        self._at_kill(run)
        return True


class FakeView:
    """Keeps what it was shown."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.records: list[Json] = []
        self.notes: list[str] = []
        self.at_note: Callable[[], None] | None = None
        """Called at the first note."""

    def update(self, status: RunStatus, records: list[Json]) -> None:
        if self.states[-1:] != [status.state]:
            self.states.append(status.state)
        self.records += records

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.at_note and len(self.notes) == 1:
            self.at_note()
