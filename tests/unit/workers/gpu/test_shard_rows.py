"""Gradient rows by calls of one fixed shape, with a device that is a CPU."""

import contextlib
import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.unit.simulated import shard_of, tiny_job, tiny_shape
from tests.unit.workers.test_gradients import NOISY, model_of, random_rows, whole_batch_gradient
from workers.config import TrainJob
from workers.data.rows import Rows
from workers.gpu import shard_rows
from workers.gpu.shard_rows import GpuRows, block_rows
from workers.pieces import NUM_SUMS

CPU = torch.device("cpu")
PLAIN_AND_NOISY = pytest.mark.parametrize("noise", [{}, NOISY], ids=["plain", "dropout, augment"])


class InlineQueue:
    """A queue of a device that runs its work at once, as a CPU does."""

    @contextlib.contextmanager
    def work(self) -> Iterator[None]:
        yield

    def join(self) -> None:
        pass

    def repeatable(self, function: Callable[[], None]) -> Callable[[], None]:
        function()
        return function


class CountingQueue(InlineQueue):
    """A queue that counts how often its work runs, and the shapes that the model is given."""

    calls = 0

    def repeatable(self, function: Callable[[], None]) -> Callable[[], None]:
        function()

        def counted() -> None:
            CountingQueue.calls += 1
            function()

        return counted


def job_of(folder: Path, **parts: Any) -> TrainJob:
    """Return a job whose steps take 8 rows of each of 4 shards."""
    training = {"global_batch_size": 32, **parts.pop("training", {})}
    data = parts.pop("data", tiny_shape(train_rows=64))
    return tiny_job(folder, data=data, training=training, **parts)


def gpu_rows(job: TrainJob, shards: range | None = None, **more: Any) -> GpuRows:
    shards = range(job.data.num_shards) if shards is None else shards
    new_queue = more.pop("new_queue", lambda device: InlineQueue())
    return GpuRows(model_of(job), job, shards, CPU, new_queue, **more)


def batches_of(job: TrainJob, rows: Rows, shards: range | None = None) -> dict[int, Rows]:
    num_shards = job.data.num_shards
    shards = range(num_shards) if shards is None else shards
    return {shard: shard_of(rows, num_shards, shard) for shard in shards}


def computed(job: TrainJob, rows: Rows, **more: Any) -> Tensor:
    return gpu_rows(job, **more).shard_rows(0, 2, batches_of(job, rows)).clone()


@PLAIN_AND_NOISY
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rows_have_the_same_bits_for_any_number_of_lanes(
    tmp_path: Path, noise: dict[str, Any], precision: str
) -> None:
    job = job_of(tmp_path, training={"precision": precision}, **noise)
    rows = random_rows(26, job.data)
    wanted = computed(job, rows)
    for lanes in (1, 2, 3, 4):
        assert torch.equal(computed(job, rows, max_lanes=lanes), wanted)


@PLAIN_AND_NOISY
def test_a_shard_has_the_same_row_whatever_other_shards_its_worker_hosts(
    tmp_path: Path, noise: dict[str, Any]
) -> None:
    job = job_of(tmp_path, **noise)
    rows = random_rows(26, job.data)
    wanted = computed(job, rows)
    for shards in (range(1), range(1, 3), range(3, 4)):
        found = gpu_rows(job, shards).shard_rows(0, 2, batches_of(job, rows, shards))
        assert torch.equal(found, wanted[shards.start : shards.stop])


@pytest.mark.parametrize("gradients", ["exact", "fused"])
@pytest.mark.parametrize("number", [32, 26, 5])
def test_the_rows_add_up_to_torchs_own_gradient(
    tmp_path: Path, gradients: str, number: int
) -> None:
    job = job_of(tmp_path, training={"gradients": gradients})
    rows = random_rows(number, job.data)
    total = computed(job, rows).sum(dim=0)
    torch.testing.assert_close(total[:-NUM_SUMS] / number, whole_batch_gradient(job, rows))
    assert total[-3] == number
    assert total[-2:].tolist() == [0.0, 0.0]


def test_fused_draws_the_numbers_of_each_shard_as_exact_does(tmp_path: Path) -> None:
    rows = random_rows(26, job_of(tmp_path).data)
    exact = computed(job_of(tmp_path, **NOISY), rows).sum(dim=0)
    fused = computed(job_of(tmp_path, training={"gradients": "fused"}, **NOISY), rows).sum(dim=0)
    torch.testing.assert_close(fused, exact, rtol=1e-4, atol=1e-5)


@PLAIN_AND_NOISY
def test_what_an_earlier_step_left_in_the_buffers_does_not_matter(
    tmp_path: Path, noise: dict[str, Any]
) -> None:
    job = job_of(tmp_path, **noise)
    few, many = random_rows(5, job.data), random_rows(32, job.data)
    used = gpu_rows(job, max_lanes=2)
    for step, rows in enumerate((many, few, many)):
        found = used.shard_rows(1, step, batches_of(job, rows))
        fresh = gpu_rows(job).shard_rows(1, step, batches_of(job, rows))
        assert torch.equal(found, fresh)


@pytest.mark.parametrize("gradients", ["exact", "fused"])
def test_a_worker_without_rows_in_the_last_step_adds_nothing(
    tmp_path: Path, gradients: str
) -> None:
    job = job_of(tmp_path, training={"gradients": gradients})
    two = random_rows(2, job.data)  # they belong to the shards 0 and 1
    used = gpu_rows(job, range(2, 4))
    used.shard_rows(0, 0, batches_of(job, random_rows(32, job.data), range(2, 4)))
    assert not used.shard_rows(0, 1, batches_of(job, two, range(2, 4))).any()
    assert gpu_rows(job).shard_rows(0, 1, batches_of(job, two))[:, -3].sum() == 2


def test_a_flag_does_not_stay_for_the_next_step(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    rows = gpu_rows(job)
    batches = batches_of(job, random_rows(26, job.data))
    rows.shard_rows(0, 0, batches)[0, -2:] = 1.0
    assert not rows.shard_rows(0, 1, batches)[:, -2:].any()


def test_each_call_has_one_shape_and_long_shards_take_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, data=tiny_shape(num_shards=2), training={"global_batch_size": 16})
    outputs = job.data.input.height * job.model.hidden_size
    monkeypatch.setattr(shard_rows, "_MAX_OUTPUTS", 3 * outputs)
    assert block_rows(job) == 3
    rows = random_rows(16, job.data)
    CountingQueue.calls = 0
    found = computed(job, rows, new_queue=lambda device: CountingQueue()).sum(dim=0)
    assert CountingQueue.calls == 2 * 3  # 8 rows of each shard, in calls of 3
    torch.testing.assert_close(found[:-NUM_SUMS] / 16, whole_batch_gradient(job, rows))


def test_a_batch_may_be_larger_than_the_data_set(tmp_path: Path) -> None:
    training = {"global_batch_size": 4 * 10**30}
    job = job_of(tmp_path, data=tiny_shape(), training=training)
    assert block_rows(job) == 7  # the longest of four shards with 26 rows in all
    rows = random_rows(26, job.data)
    total = computed(job, rows).sum(dim=0)
    torch.testing.assert_close(total[:-NUM_SUMS] / 26, whole_batch_gradient(job, rows))


def test_the_rows_of_a_call_depend_on_the_job_and_not_on_its_workers(tmp_path: Path) -> None:
    def rows_of(**model: Any) -> int:
        shape = tiny_shape(height=28, width=28, num_shards=8, train_rows=80_000)
        return block_rows(
            job_of(tmp_path, data=shape, model=model, training={"global_batch_size": 80_000})
        )

    assert rows_of(hidden_size=128) == 10_000  # all rows that a shard has in a step
    assert rows_of(hidden_size=512) == 2**26 // (28 * 512)
    assert rows_of(hidden_size=512, bidirectional=True, num_layers=2) == 2**26 // (28 * 2048)
    assert rows_of(hidden_size=128, read="pixels") == 2**26 // (784 * 128)


def test_numbers_are_drawn_only_for_a_job_that_asks_for_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def seed_of(*where: int) -> int:
        asked.append(where)
        return 1

    monkeypatch.setattr(shard_rows, "seed_of", seed_of)
    plain, noisy = job_of(tmp_path), job_of(tmp_path, model={"dropout": 0.5})
    rows = random_rows(26, plain.data)
    computed(plain, rows)
    assert not asked
    computed(noisy, rows)
    assert [where[-2:] for where in asked] == [(shard, 0) for shard in range(4)]


def test_the_memory_of_a_device_is_free_as_soon_as_nobody_needs_it(tmp_path: Path) -> None:
    """Nothing refers to itself in a circle, which only Python's garbage collector would find."""
    gc.collect()
    gc.disable()
    try:
        job = job_of(tmp_path, **NOISY)
        rows = gpu_rows(job)
        rows.shard_rows(0, 0, batches_of(job, random_rows(26, job.data)))
        gone = weakref.ref(rows), weakref.ref(rows._buffers._batch.inputs), weakref.ref(rows._rows)
        del rows
        assert [reference() for reference in gone] == [None] * 3
    finally:
        gc.enable()


def test_new_weights_are_used_without_recording_anything_anew(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    rows, model = random_rows(26, job.data), model_of(job)
    found = GpuRows(model, job, range(4), CPU, lambda device: InlineQueue())
    before = found.shard_rows(0, 0, batches_of(job, rows)).clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.5)
    after = found.shard_rows(0, 0, batches_of(job, rows))
    assert not torch.equal(before, after)
