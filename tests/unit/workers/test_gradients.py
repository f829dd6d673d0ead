"""One gradient row per shard, summed in shard order."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.unit.simulated import on_workers, shard_of, single, tiny_job, tiny_shape
from workers import gradients as gradients_module
from workers.config import DataShape, TrainJob
from workers.data.rows import Rows
from workers.errors import ResourcesError
from workers.gradients import ControlFlags, Gradients, Step
from workers.models.recurrent import RecurrentNetwork, build_model
from workers.models.sequences import model_outputs
from workers.optimizer import clip_, lr_factor
from workers.pieces import MICRO_BATCH_ROWS
from workers.seeds import Purpose, seed_of
from workers.shard_threads import ShardThreads
from workers.worker import Worker, add_in_order

NOISY: dict[str, Any] = {
    "model": {"dropout": 0.4, "num_layers": 2},
    "augment": {"shift_px": 1.5, "rotate_deg": 20.0, "scale": 0.2, "shear": 0.2},
}

_NO_FLAGS = ControlFlags()


def random_rows(number: int, shape: DataShape) -> Rows:
    generator = torch.Generator().manual_seed(number)
    size = (number, shape.input.height, shape.input.width)
    images = torch.randint(0, 256, size, generator=generator)
    labels = torch.randint(0, shape.target.num_outputs, (number,), generator=generator)
    return Rows(images.to(torch.uint8), labels)


def model_of(job: TrainJob) -> RecurrentNetwork:
    return build_model(job.model, job.data, job.training.seed, job.training.bptt_steps)


def step_of(
    job: TrainJob, worker: Worker, rows: Rows, flags: ControlFlags = _NO_FLAGS, threads: int = 1
) -> Step:
    batches = {s: shard_of(rows, job.data.num_shards, s) for s in worker.shards}
    pool = ShardThreads(threads)
    try:
        return Gradients(model_of(job), job, worker, pool).step(0, 2, batches, flags)
    finally:
        pool.close()


def whole_batch_gradient(job: TrainJob, rows: Rows) -> Tensor:
    """Return torch's own mean gradient over the batch."""
    model = model_of(job)
    logits = model_outputs(model, rows.batch(), job)
    F.cross_entropy(logits, rows.targets_N).backward()
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("num_threads", [1, 3])
def test_threads_compute_alone_and_not_with_numbers_below_the_normal_ones(num_threads: int) -> None:
    threads = ShardThreads(num_threads)

    def seen(_: int) -> Tensor:
        vanishing = torch.tensor(2e-38) / 4
        return torch.tensor([float(torch.get_num_threads()), float(vanishing * 1e30)])

    try:
        for each in threads.map(seen, range(9)):
            assert each.tolist() == [1.0, 0.0]
    finally:
        threads.close()


@pytest.mark.parametrize("noise", [{}, NOISY], ids=["plain", "dropout and augment"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_gradient_has_the_same_bits_on_any_number_of_workers(
    tmp_path: Path, noise: dict[str, Any], precision: str
) -> None:
    job = tiny_job(tmp_path, training={"precision": precision}, **noise)
    rows = random_rows(26, job.data)
    alone = step_of(job, single(job), rows)
    for num_workers in range(1, job.data.num_shards + 1):
        for step in on_workers(job, num_workers, lambda worker: step_of(job, worker, rows)):
            assert torch.equal(step.gradient_N, alone.gradient_N)
            assert (step.loss_sum, step.score_sum) == (alone.loss_sum, alone.score_sum)
            assert step.num_rows == 26


@pytest.mark.parametrize("noise", [{}, NOISY], ids=["plain", "dropout and augment"])
def test_the_gradient_has_the_same_bits_for_any_number_of_threads(
    tmp_path: Path, noise: dict[str, Any]
) -> None:
    job = tiny_job(tmp_path, **noise)
    rows = random_rows(26, job.data)
    steps = [step_of(job, single(job), rows, threads=threads) for threads in (1, 2, 3)]
    assert torch.equal(steps[0].gradient_N, steps[1].gradient_N)
    assert torch.equal(steps[0].gradient_N, steps[2].gradient_N)


def test_rows_are_added_strictly_from_first_to_last() -> None:
    rows = torch.tensor([[1e8], [1.0], [-1e8], [1.0]])
    assert add_in_order(rows).item() == 1.0  # (1e8 + 1) loses the 1 in float32
    assert rows[0].item() == 1e8, "the first row must not be added into"


@pytest.mark.parametrize("model", [{}, {"cell": "gru", "bidirectional": True, "num_layers": 2}])
def test_the_gradient_is_torchs_own_of_the_whole_batch(
    tmp_path: Path, model: dict[str, Any]
) -> None:
    job = tiny_job(tmp_path, model=model)
    rows = random_rows(26, job.data)
    step = step_of(job, single(job), rows)
    torch.testing.assert_close(step.gradient_N, whole_batch_gradient(job, rows))
    logits = model_outputs(model_of(job), rows.batch(), job)
    assert step.loss_sum == pytest.approx(
        F.cross_entropy(logits, rows.targets_N, reduction="sum").item(), rel=1e-5
    )
    assert step.score_sum == int((logits.argmax(1) == rows.targets_N).sum())


@pytest.mark.parametrize("noise", [{}, NOISY], ids=["plain", "dropout and augment"])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_fused_gives_the_exact_gradient_up_to_rounding(
    tmp_path: Path, noise: dict[str, Any], num_workers: int
) -> None:
    exact = tiny_job(tmp_path, **noise)
    fused = tiny_job(tmp_path, training={"gradients": "fused"}, **noise)
    rows = random_rows(26, exact.data)
    wanted = step_of(exact, single(exact), rows)
    for step in on_workers(fused, num_workers, lambda worker: step_of(fused, worker, rows)):
        torch.testing.assert_close(step.gradient_N, wanted.gradient_N, rtol=1e-4, atol=1e-6)
        assert step.loss_sum == pytest.approx(wanted.loss_sum, rel=1e-5)
        assert (step.score_sum, step.num_rows) == (wanted.score_sum, 26)


def test_a_shard_of_more_rows_than_a_micro_batch_is_computed_in_pieces(tmp_path: Path) -> None:
    shape = tiny_shape(num_shards=1, train_rows=600)
    job = tiny_job(tmp_path, data=shape)
    rows = random_rows(2 * MICRO_BATCH_ROWS + 3, shape)
    step = step_of(job, single(job), rows)
    assert step.num_rows == 2 * MICRO_BATCH_ROWS + 3
    torch.testing.assert_close(step.gradient_N, whole_batch_gradient(job, rows))


def test_a_pieces_dropout_does_not_depend_on_the_pieces_before_it(tmp_path: Path) -> None:
    """The second piece draws the same numbers alone and after the first: its number seeds them."""
    shape = tiny_shape(num_shards=1, train_rows=600)
    job = tiny_job(tmp_path, data=shape, model={"dropout": 0.5})
    both = random_rows(MICRO_BATCH_ROWS + 40, shape)
    first = Rows(both.inputs[:MICRO_BATCH_ROWS], both.targets_N[:MICRO_BATCH_ROWS])
    together, alone = step_of(job, single(job), both), step_of(job, single(job), first)
    second = together.gradient_N * len(both) - alone.gradient_N * len(first)

    from workers.models.noise import Noise

    model = model_of(job)
    generator = torch.Generator().manual_seed(seed_of(0, Purpose.STEP, 0, 2, 0, 1))
    _, rest = both.split([MICRO_BATCH_ROWS, 40])
    logits = model_outputs(model, rest.batch(), job, Noise([(generator, 40)]))
    F.cross_entropy(logits, rest.targets_N, reduction="sum").backward()
    wanted = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(second, wanted, rtol=1e-3, atol=1e-3)


def test_shards_without_rows_add_nothing(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    rows = random_rows(2, job.data)  # shards 2 and 3 are empty
    for num_workers in (1, 4):
        for step in on_workers(job, num_workers, lambda worker: step_of(job, worker, rows)):
            assert step.num_rows == 2
            torch.testing.assert_close(step.gradient_N, whole_batch_gradient(job, rows))


def test_a_fused_worker_without_rows_adds_nothing(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, training={"gradients": "fused"})
    rows = random_rows(2, job.data)
    for step in on_workers(job, 4, lambda worker: step_of(job, worker, rows)):
        assert step.num_rows == 2
        torch.testing.assert_close(step.gradient_N, whole_batch_gradient(job, rows))


@pytest.mark.parametrize("gradients", ["exact", "fused"])
def test_a_flag_of_one_worker_reaches_all_workers(tmp_path: Path, gradients: str) -> None:
    job = tiny_job(tmp_path, training={"gradients": gradients})
    rows = random_rows(26, job.data)
    for flags in (ControlFlags(stop=True), ControlFlags(check_notice=True), ControlFlags()):
        steps = on_workers(
            job,
            3,
            lambda worker, f=flags: step_of(
                job, worker, rows, ControlFlags() if worker.rank else f
            ),
        )
        assert [step.flags for step in steps] == [flags] * 3


def test_a_flat_gradient_is_handed_to_the_parameters_in_their_order(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    model = model_of(job)
    size = sum(p.numel() for p in model.parameters())
    Gradients(model, job, single(job), ShardThreads(1)).assign(torch.arange(float(size)))
    joined = torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])
    assert torch.equal(joined, torch.arange(float(size)))


@pytest.mark.parametrize(
    ("limit", "clipped"), [(1.0, [0.6, 0.8]), (0.0, [3.0, 4.0]), (5.0, [3.0, 4.0]), (2.5, [1.5, 2])]
)
def test_clipping_scales_to_the_limit_and_returns_the_norm_before(
    limit: float, clipped: list[float]
) -> None:
    gradient = torch.tensor([3.0, 4.0])
    assert clip_(gradient, limit) == 5.0
    torch.testing.assert_close(gradient, torch.tensor(clipped))


def test_schedules_begin_peak_and_end_as_documented() -> None:
    assert [lr_factor("constant", step, 10) for step in (0, 9)] == [1.0, 1.0]
    assert lr_factor("cosine", 0, 10) == 1.0
    assert lr_factor("cosine", 5, 10) == pytest.approx(0.5)
    assert lr_factor("cosine", 9, 10) == pytest.approx((1 + math.cos(0.9 * math.pi)) / 2)
    assert lr_factor("one-cycle", 0, 1000) == pytest.approx(1 / 25)
    assert lr_factor("one-cycle", 150, 1000) == pytest.approx((1 + 1 / 25) / 2)
    assert lr_factor("one-cycle", 300, 1000) == pytest.approx(1.0)
    assert lr_factor("one-cycle", 650, 1000) == pytest.approx((1 + 1e-4) / 2)
    assert lr_factor("one-cycle", 1000, 1000) == pytest.approx(1e-4)


def test_too_little_memory_of_a_gpu_is_said_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.75 GiB.")

    monkeypatch.setattr(gradients_module, "GpuRows", too_large)
    job = tiny_job(tmp_path)
    with pytest.raises(ResourcesError, match="not enough memory") as caught:
        gradients_module._rows_on_gpu(model_of(job), job, single(job))
    assert "--batch-size" in caught.value.cure
