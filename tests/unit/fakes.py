"""Fakes of the trainer, the launcher and the follower's view, and a small job for them."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator import runs
from orchestrator.runs import RunStatus
from orchestrator.spec.build import build_spec
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import Plan
from tests.unit.datasets.idx_files import write_idx_files
from workers.records.activity import Report
from workers.records.metrics_log import MetricsLog
from workers.records.run_folder import RunFolder, StopRequest
from workers.records.train_result import TrainResult
from workers.storage.typed_json import Json

WEIGHTS = "c" * 64


def tiny_spec(folder: Path, **values: Any) -> JobSpec:
    """Return a job on 61 rows of 4 by 3 pixels in `folder`/idx, with its runs in `folder`/runs."""
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


def wait_until(condition: Callable[[], bool], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


class FakeTrainer:
    """A trainer that runs `wait` while it waits for capacity, and `act` as the training."""

    def __init__(
        self,
        act: Callable[[RunFolder, Plan], TrainResult] | None = None,
        wait: Callable[[Callable[[str], None]], None] = lambda say: None,
    ) -> None:
        self.act = act or (lambda run, plan: finished())
        self.wait = wait
        self.run: RunFolder | None = None
        self.seen: list[str] = []
        """The names of the calls, in order."""

    def __enter__(self) -> "FakeTrainer":
        self.seen.append("enter")
        return self

    def __exit__(self, *_: object) -> None:
        self.seen.append("exit")

    def wait_for_capacity(self, run: RunFolder, spec: JobSpec, say: Callable[[str], None]) -> None:
        self.seen.append("wait")
        self.run = run
        self.wait(say)

    def resolve_precision(self, gpu: bool) -> str:
        return "fp32"

    def reports(self) -> list[Report]:
        return []

    def end_workers(self) -> None:
        self.seen.append("end workers")

    def train(self, plan: Plan) -> TrainResult:
        assert self.run is not None
        self.seen.append("train")
        return self.act(self.run, plan)


def start_workers(run: RunFolder, workers: int = 2, resumed_at: int = 0) -> None:
    """Record a start, as worker 0 does. Return once the status has the new attempt."""
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
    """A launcher whose job runs one action at each `is_alive`, and has ended after the last."""

    def __init__(
        self,
        *actions: Callable[[RunFolder], None],
        leaves_on_interrupt: bool = False,
        why: str = "",
        at_kill: Callable[[RunFolder], None] = lambda run: None,
        mode: str = runs.LOCAL,
        address: str = "",
    ) -> None:
        self.mode, self.address = mode, address
        self.checked_job_ids: list[str] = []
        self.leaves_on_interrupt = leaves_on_interrupt
        self.killed = False
        self._actions = list(actions)
        self._why = why
        self._at_kill = at_kill

    def check(self, run: RunFolder, spec: JobSpec, job_id: str) -> dict[str, Any]:
        self.checked_job_ids.append(job_id)
        return {}

    def submit(self, run: RunFolder) -> None:
        pass

    def is_alive(self, run: RunFolder) -> bool:
        if not self._actions or self.killed:
            return False
        self._actions.pop(0)(run)
        return True

    def why_it_ended(self, run: RunFolder) -> str:
        return self._why

    def kill(self, run: RunFolder) -> bool:
        self.killed = True
        self._at_kill(run)
        return True


class FakeView:
    """A view that keeps everything that it was given."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.records: list[Json] = []
        self.notes: list[str] = []
        self.at_note: Callable[[], None] | None = None
        """A function that is called at the first note."""

    def update(self, status: RunStatus, records: list[Json]) -> None:
        if self.states[-1:] != [status.state]:
            self.states.append(status.state)
        self.records += records

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self.at_note and len(self.notes) == 1:
            self.at_note()
