"""Evaluate on Ray: actors compute the sums of shards, which are then added as in training.

S shards, K sums of a shard.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.driver.parts.request import EvaluateRequest, part_name, shard_name
from orchestrator.trained.evaluation import RunEvaluation
from orchestrator.trained.parts import ProgramLauncher, Work
from orchestrator.trained.rows import RowsToEvaluate, rows_for
from orchestrator.trained.trained_run import TrainedRun
from orchestrator.trained.weights import weights_of
from workers.errors import StorageError
from workers.storage.storage import LARGE_BYTES, Storage
from workers.storage.typed_json import parse_object

if TYPE_CHECKING:
    from workers.evaluate import Evaluation

_PARTS = ".parts"
"""The folder in a storage for work in parts. Each has a folder of its own, and removes it."""


def evaluate_on_ray(
    trained: TrainedRun,
    launcher: ProgramLauncher,
    num_workers: int,
    tell: Callable[[int, int], None],
    dataset: str | None = None,
    split: str | None = None,
    data_dir: Path | None = None,
) -> RunEvaluation:
    """Evaluate the model of a run with the bits of `evaluate_run`.

    The rows are read here, and handed to the actors through the storage of the run.

    `tell`: told how many rows are done, and how many there are.

    Raises JobError.
    """
    rows = rows_for(trained, dataset, split, data_dir)
    work = _work(trained, rows, launcher, num_workers)
    total = rows.shape.num_rows(rows.split)
    try:
        work.begin()
        _write_shards(work.folder, rows)
        work.run(lambda done: tell(done, total))
        evaluation = _added(work, trained, rows)
    finally:
        work.remove()
    return RunEvaluation(trained, rows, work.request.weights_sha256, evaluation)


def _work(
    trained: TrainedRun, rows: RowsToEvaluate, launcher: ProgramLauncher, num_workers: int
) -> Work:
    request = EvaluateRequest(
        job=trained.job,
        checkpoint=trained.checkpoint,
        weights_sha256=weights_of(trained),
        pip=trained.spec.env.pip,
        shape=rows.shape,
        split=rows.split,
    )
    storage = Storage(trained.run.storage.parent_uri)
    folder = storage.child(_PARTS).child(secrets.token_hex(6))
    return Work(folder, request, launcher, num_workers)


def _write_shards(folder: Storage, rows: RowsToEvaluate) -> None:
    for shard in range(rows.shape.num_shards):
        sink = pa.BufferOutputStream()
        pq.write_table(rows.table(shard), sink)
        folder.write(shard_name(shard), sink.getvalue().to_pybytes())


def _added(work: Work, trained: TrainedRun, rows: RowsToEvaluate) -> "Evaluation":
    """Return the metrics behind the sums of all shards. Raises JobError."""
    import torch

    from workers.evaluate import evaluation_of

    sums = []
    for shard in range(rows.shape.num_shards):
        name = part_name(work.request, shard)
        try:
            sums.append(parse_object(work.folder.read(name, LARGE_BYTES))["sums"])
        except (FileNotFoundError, ValueError, KeyError) as error:
            raise StorageError(
                f"{work.folder.where(name)} is damaged: {error!r}", "run the command again"
            ) from error
    sums_SK = torch.tensor(sums, dtype=torch.float64)
    job = trained.job.model_copy(update={"data": rows.shape})
    return evaluation_of(sums_SK, job, rows.split)
