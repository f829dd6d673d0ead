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
from workers.gpu.queues import CudaQueue
from workers.gpu.settings import enable_determinism
from workers.gpu.shard_rows import GpuRows
from workers.models.compute_copy import ComputeCopy
from workers.models.recurrent import build_model
from workers.shards.rows import Rows

_SHARDS, _ROWS, _SIZE, _CLASSES = 8, 64, 28, 10
_REPETITIONS = 20


def differing_variants(device: torch.device, precision: str) -> list[str]:
    """Return in words which ways of computing one gradient gave other bits; empty if none did.

    It is the default model on random rows, with one queue and with eight, with graphs and without,
    several times each. It needs `workers.gpu.settings.prepare_environment` before CUDA is used.
    """
    enable_determinism()
    job = _job(precision)
    batches = _batches(device)
    model = build_model(job.model, job.data, 0).to(device)
    computing = ComputeCopy(model, precision, device)
    computing.refresh()
    wanted: torch.Tensor | None = None
    differing = []
    for lanes in (1, _SHARDS):
        for with_graphs in (True, False):
            rows = GpuRows(
                computing.module,
                job,
                range(_SHARDS),
                device,
                lambda device, graphs=with_graphs: CudaQueue(device, graphs),  # type: ignore[misc]
                lanes,
            )
            found = [rows.compute(0, 0, batches).cpu() for _ in range(_REPETITIONS)]
            wanted = found[0] if wanted is None else wanted
            if not all(torch.equal(each, wanted) for each in found):
                graphs = "with graphs" if with_graphs else "without graphs"
                differing.append(f"{precision} on {lanes} queue(s) {graphs}")
    return differing


def _batches(device: torch.device) -> dict[int, Rows]:
    generator = torch.Generator().manual_seed(0)
    shape = (_SHARDS, _ROWS)
    images = torch.randint(0, 256, (*shape, _SIZE, _SIZE), generator=generator).to(torch.uint8)
    labels = torch.randint(0, _CLASSES, shape, generator=generator)
    return {s: Rows(images[s].to(device), labels[s].to(device)) for s in range(_SHARDS)}


def _job(precision: str) -> TrainJob:
    values = {"precision": precision, "global_batch_size": _SHARDS * _ROWS}
    return TrainJob(
        run_id="self-test",
        run_uri="",
        fingerprint="",
        data=DataShape(
            name="random",
            fingerprint="",
            num_shards=_SHARDS,
            num_classes=_CLASSES,
            height=_SIZE,
            width=_SIZE,
            train_rows=_SHARDS * _ROWS,
            validation_rows=0,
            test_rows=1,
        ),
        model=ModelConfig(),
        augment=AugmentConfig(),
        training=TrainingConfig.model_validate(values),
        checkpoint=CheckpointConfig(),
        log=LogConfig(),
        cpus_per_worker=1,
    )
