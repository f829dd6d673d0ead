"""Whether a GPU computes the same bits whatever runs beside what: a test of some seconds."""

import torch

from workers.config import (
    AugmentConfig,
    CheckpointConfig,
    DataShape,
    LogConfig,
    ModelConfig,
    TrainingConfig,
    TrainJob,
)
from workers.data.kinds import ClassTarget, ImageInput
from workers.data.rows import Rows
from workers.gpu.queues import CudaQueue
from workers.gpu.settings import enable_determinism
from workers.gpu.shard_rows import GpuRows
from workers.models.compute_copy import ComputeCopy
from workers.models.recurrent import build_model

NUM_SHARDS, SIZE, NUM_CLASSES = 8, 28, 10
_ROWS = 64
"""The rows of each shard in the step of the test."""
_REPETITIONS = 20


def differing_variants(device: torch.device, precision: str) -> list[str]:
    """Return in words which ways of computing one gradient gave other bits; empty if none did.

    It is the default model on random rows, with one queue and with eight, with graphs and without,
    several times each. It needs `workers.gpu.settings.prepare_environment` before CUDA is used.
    """
    enable_determinism()
    job = random_digits_job(NUM_SHARDS * _ROWS, precision)
    batches = _batches(device)
    model = build_model(job.model, job.data, 0).to(device)
    computing = ComputeCopy(model, precision, device)
    computing.refresh()
    wanted: torch.Tensor | None = None
    differing = []
    for lanes in (1, NUM_SHARDS):
        for with_graphs in (True, False):
            rows = GpuRows(
                computing.module,
                job,
                range(NUM_SHARDS),
                device,
                lambda device, graphs=with_graphs: CudaQueue(device, graphs),  # type: ignore[misc]
                lanes,
            )
            found = [rows.shard_rows(0, 0, batches).cpu() for _ in range(_REPETITIONS)]
            wanted = found[0] if wanted is None else wanted
            if not all(torch.equal(each, wanted) for each in found):
                graphs = "with graphs" if with_graphs else "without graphs"
                differing.append(f"{precision} on {lanes} queue(s) {graphs}")
    return differing


def _batches(device: torch.device) -> dict[int, Rows]:
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_SHARDS, _ROWS)
    images = torch.randint(0, 256, (*shape, SIZE, SIZE), generator=generator).to(torch.uint8)
    labels = torch.randint(0, NUM_CLASSES, shape, generator=generator)
    return {s: Rows(images[s].to(device), labels[s].to(device)) for s in range(NUM_SHARDS)}


def random_digits_job(
    batch_size: int, precision: str, gradients: str = "exact", hidden_size: int = 128
) -> TrainJob:
    """Return a job on images of MNIST's size in 8 shards, with the default model but its width.

    It has no run folder: only its steps can be computed.
    """
    training = {
        "global_batch_size": batch_size, "precision": precision, "gradients": gradients
    }  # fmt: skip
    return TrainJob(
        run_id="random-digits",
        run_uri="",
        fingerprint="",
        data=DataShape(
            name="random",
            fingerprint="",
            num_shards=NUM_SHARDS,
            input=ImageInput(height=SIZE, width=SIZE, mean=0.13, std=0.31),
            target=ClassTarget(column="label", names=tuple(map(str, range(NUM_CLASSES)))),
            train_rows=60_000,
            validation_rows=0,
            test_rows=1,
        ),
        model=ModelConfig(hidden_size=hidden_size),
        augment=AugmentConfig(),
        training=TrainingConfig.model_validate(training),
        checkpoint=CheckpointConfig(),
        log=LogConfig(),
        cpus_per_worker=1,
    )
