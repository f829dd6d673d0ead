"""Compute the metrics of a trained model in one process."""

import contextlib
from collections.abc import Callable, Iterable

import torch

from workers.config import DataShape
from workers.data.rows import Rows, ShardData
from workers.evaluate import Evaluation, evaluate
from workers.models.compute_copy import ComputeCopy
from workers.models.cpu_kernels import bf16_kernels
from workers.shard_threads import ShardThreads
from workers.shards.rows_source import in_parts
from workers.trained.load import TrainedModel
from workers.worker import SingleProcessWorker


def evaluate_trained(
    model: TrainedModel,
    data: DataShape,
    load_shard: Callable[[int], ShardData],
    split: str,
    num_threads: int,
) -> Evaluation:
    """Return the metrics of a split, with the bits that training gives for the same rows.

    Args:
        data: the rows, in the kinds of input and target that the model was trained with.
        load_shard: returns the rows of a shard.
        num_threads: how many shards are computed at once, which changes nothing else.

    Raises RowAccountError if not all rows were counted.
    """
    job = model.job.model_copy(update={"data": data})
    device = torch.device("cpu")
    worker = SingleProcessWorker(data.num_shards, load_shard, lambda: None, device)
    precision = job.training.precision
    computing = ComputeCopy(model.module, precision, device)

    def parts(split: str, shard: int) -> Iterable[Rows]:
        return in_parts(load_shard(shard)[split], job.window)

    threads = ShardThreads(min(num_threads, data.num_shards))
    with contextlib.closing(threads), bf16_kernels(precision, device):
        return evaluate(computing.module, job, worker, threads, parts, split)
