"""The sequence of rows that a job learns from depends on the job alone, not on restarts."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.unit.simulated import RankWorker, on_workers, single, tiny_job
from workers.config import TrainJob
from workers.errors import RowAccountError
from workers.records.run_folder import RunFolder, StopRequest
from workers.records.train_result import TrainResult
from workers.shards.account import RowAccount
from workers.shards.order import (
    epoch_order,
    hosted_shards,
    shard_rows,
    step_rows,
    steps_per_epoch,
)
from workers.storage.typed_json import Json
from workers.train import train


@dataclass(frozen=True)
class Epoch:
    """The part of a job that decides the rows of one epoch."""

    num_rows: int
    num_shards: int
    per_step: int
    seed: int
    epoch: int

    @property
    def num_steps(self) -> int:
        return steps_per_epoch(self.num_rows, self.num_shards, self.per_step)

    def order(self, shard: int) -> NDArray[np.int64]:
        size = len(shard_rows(self.num_rows, self.num_shards, shard))
        return epoch_order(self.seed, self.epoch, shard, size)

    def rows(self, shard: int, step: int) -> list[int]:
        """Return the row numbers within the split."""
        inside = shard_rows(self.num_rows, self.num_shards, shard)
        return [inside[i] for i in step_rows(self.order(shard), step, self.per_step).tolist()]

    def step_on(self, num_workers: int, step: int) -> list[tuple[int, list[int]]]:
        """Return what all ranks together compute in a step: each shard with its rows in order."""
        return [
            (shard, self.rows(shard, step))
            for rank in range(num_workers)
            for shard in hosted_shards(self.num_shards, num_workers, rank)
        ]


EPOCHS = st.builds(
    Epoch,
    num_rows=st.integers(0, 200),
    num_shards=st.integers(1, 9),
    per_step=st.integers(1, 30),
    seed=st.integers(0, 2**63 - 1),
    epoch=st.integers(0, 10_000),
)


@dataclass(frozen=True)
class Attempt:
    """Workers that continue after step `begin` of the epoch and end after step `end`."""

    begin: int
    end: int
    num_workers: int


@st.composite
def attempts(draw: st.DrawFn, epoch: Epoch) -> list[Attempt]:
    """Draw attempts that together complete an epoch, on any numbers of workers.

    Each attempt begins at a checkpoint, which is no later than the end of the attempt before it.
    """
    drawn: list[Attempt] = []
    at = 0
    for _ in range(draw(st.integers(0, 4), label="restarts")):
        end = draw(st.integers(at, epoch.num_steps), label="ends after")
        drawn.append(Attempt(at, end, draw(st.integers(1, epoch.num_shards), label="workers")))
        at = draw(st.integers(0, end), label="checkpoint")
    last = draw(st.integers(1, epoch.num_shards), label="workers")
    return [*drawn, Attempt(at, epoch.num_steps, last)]


def steps_of(epoch: Epoch, sequence: list[Attempt]) -> dict[int, list[tuple[int, list[int]]]]:
    """Return what each step computed the last time. A restart discards what came before."""
    done: dict[int, list[tuple[int, list[int]]]] = {}
    for attempt in sequence:
        for step in range(attempt.begin, attempt.end):
            done[step] = epoch.step_on(attempt.num_workers, step)
    return done


@given(EPOCHS, st.data())
def test_the_rows_of_every_step_are_the_same_however_the_run_was_restarted(
    epoch: Epoch, data: st.DataObject
) -> None:
    sequence = data.draw(attempts(epoch))
    undisturbed = {step: epoch.step_on(1, step) for step in range(epoch.num_steps)}
    assert steps_of(epoch, sequence) == undisturbed


@given(EPOCHS, st.data())
def test_every_row_is_used_once_however_the_run_was_restarted(
    epoch: Epoch, data: st.DataObject
) -> None:
    done = steps_of(epoch, data.draw(attempts(epoch)))
    used = [row for shards in done.values() for _, rows in shards for row in rows]
    assert sorted(used) == list(range(epoch.num_rows))


@given(EPOCHS)
def test_each_step_has_rows_and_none_are_left_after_the_last(epoch: Epoch) -> None:
    sizes = [
        sum(len(epoch.rows(shard, step)) for shard in range(epoch.num_shards))
        for step in range(epoch.num_steps + 1)
    ]
    assert sum(sizes) == epoch.num_rows
    assert sizes[-1] == 0
    assert all(sizes[:-1])
    assert all(size == epoch.num_shards * epoch.per_step for size in sizes[:-2])


@given(EPOCHS, st.data())
def test_the_account_agrees_with_what_was_used_also_after_restarts(
    epoch: Epoch, data: st.DataObject
) -> None:
    last = data.draw(attempts(epoch))[-1]
    end = data.draw(st.integers(last.begin, epoch.num_steps), label="ends after")
    account, num_counted = accounted(epoch, last.begin, end)
    totals = account.close(summed(account), num_counted, epoch.num_rows, end == epoch.num_steps)
    left = epoch.num_rows - num_counted
    assert totals == {
        "rows_seen": num_counted,
        "rows_seen_twice": 0,
        "rows_dropped": 0,
        "rows_not_reached": left,
    }
    assert left == 0 or end < epoch.num_steps


@given(EPOCHS, st.data())
def test_the_account_does_not_close_if_a_row_was_used_twice_or_never(
    epoch: Epoch, data: st.DataObject
) -> None:
    if not epoch.num_rows:
        return
    begin = data.draw(st.integers(0, epoch.num_steps), label="restart")
    account, num_counted = accounted(epoch, begin, epoch.num_steps)
    shard = data.draw(st.integers(0, min(epoch.num_shards, epoch.num_rows) - 1))
    if data.draw(st.booleans(), label="twice"):
        account.use(shard, epoch.order(shard)[:1])
        num_counted += 1
    elif begin == epoch.num_steps:
        num_counted -= 1  # used before the restart, and not in the sums that the checkpoint kept
    else:
        account, num_counted = accounted(epoch, begin, epoch.num_steps - 1)
    with pytest.raises(RowAccountError):
        account.close(summed(account), num_counted, epoch.num_rows, whole=True)


def summed(account: RowAccount) -> list[int]:
    """Return the counts summed over all shards, as the training loop does."""
    return [sum(column) for column in zip(*account.counts(), strict=True)]


def accounted(epoch: Epoch, begin: int, end: int) -> tuple[RowAccount, int]:
    """Return the account of steps `begin` to `end` after a restart at `begin`, and the number of
    rows used so far."""
    orders = {shard: epoch.order(shard) for shard in range(epoch.num_shards)}
    account = RowAccount(epoch.epoch + 1, {shard: len(order) for shard, order in orders.items()})
    for shard, order in orders.items():
        account.use(shard, order[: begin * epoch.per_step])
    for step in range(begin, end):
        for shard, order in orders.items():
            account.use(shard, step_rows(order, step, epoch.per_step))
    return account, sum(len(order[: end * epoch.per_step]) for order in orders.values())


# --- the same for the training loop itself ---


@dataclass(frozen=True)
class Disturbance:
    """After step `step` of the run, its workers get a stop request, or worker 0 dies."""

    step: int
    num_workers: int
    dies: bool


class WorkerDiedError(Exception):
    pass


NUM_STEPS = 6  # of the tiny job
DISTURBANCES = st.lists(
    st.builds(
        Disturbance,
        step=st.integers(1, NUM_STEPS),
        num_workers=st.integers(1, 4),
        dies=st.booleans(),
    ),
    max_size=4,
)


def job_in(folder: Path, every_steps: int = 0) -> TrainJob:
    return tiny_job(
        folder,
        model={"dropout": 0.2},
        augment={"shift_px": 1.0},
        checkpoint={"every_steps": every_steps, "every_s": 0},
    )


def train_on(job: TrainJob, num_workers: int, until: Disturbance | None = None) -> TrainResult:
    """Train from where the run is until it ends or is disturbed. Raises WorkerDiedError."""

    def act(worker: RankWorker) -> TrainResult:
        if worker.rank == 0 and until and not until.dies:
            worker.stop_requested = stopping_in(job, until.step)  # type: ignore[method-assign]
        return train(job, worker, sink)

    def sink(record: Json) -> None:
        if until and until.dies and record["kind"] == "step" and record["step"] >= until.step:
            raise WorkerDiedError

    return on_workers(job, num_workers, act)[0]


def stopping_in(job: TrainJob, last_step: int) -> Callable[[], StopRequest | None]:
    """Return a function that asks to stop in step `last_step`, or in the first step after it."""
    asked = iter(range(newest_checkpoint(job) + 1, 10**6))
    return lambda: StopRequest("the test wants it") if next(asked) >= last_step else None


def newest_checkpoint(job: TrainJob) -> int:
    folder = Path(job.run_uri) / "checkpoints"
    return max((int(path.name[5:]) for path in folder.glob("step-*")), default=0)


def curve(job: TrainJob) -> list[Json]:
    """Return the records of all steps, without the times at which they were written, and those that
    they took."""
    records = RunFolder.at(job.run_uri).read_metrics()
    return [
        {key: value for key, value in record.items() if key not in ("time", "seconds")}
        for record in records
        if record["kind"] == "step"
    ]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, list[Json]]:
    job = job_in(tmp_path_factory.mktemp("undisturbed"))
    return train(job, single(job)), curve(job)


@settings(max_examples=15)
@given(DISTURBANCES, st.integers(0, 3), st.integers(1, 4))
@pytest.mark.slow
def test_stops_and_crashes_on_any_workers_do_not_change_weights_or_metrics(
    undisturbed: tuple[TrainResult, list[Json]],
    disturbances: list[Disturbance],
    every_steps: int,
    workers_at_the_end: int,
) -> None:
    wanted, steps = undisturbed
    with tempfile.TemporaryDirectory() as folder:
        job = job_in(Path(folder), every_steps)
        for disturbance in disturbances:
            with contextlib.suppress(WorkerDiedError):
                train_on(job, disturbance.num_workers, disturbance)
        result = train_on(job, workers_at_the_end)
        assert result.weights_sha256 == wanted.weights_sha256
        assert result.test == wanted.test
        assert curve(job) == steps
        assert [epoch["rows_seen"] for epoch in result.epochs] == [26, 26]
        assert {epoch["rows_seen_twice"] for epoch in result.epochs} == {0}
