"""Compute the metrics of a split: every row is counted exactly once, shard by shard.

B rows of a piece, N rows of a shard, L shards of this worker, S shards of the job, K sums of a
shard.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workers.config import TrainJob
from workers.data.rows import Rows
from workers.data.targets.target_rules import COMMON_SUMS, Metrics, TargetRules
from workers.errors import RowAccountError
from workers.gpu.shard_rows import block_rows
from workers.models.own.step import evaluating
from workers.models.sequences import model_outputs
from workers.pieces import piece_rows, rules_of
from workers.shard_threads import ShardThreads
from workers.shards.rows_source import Parts
from workers.worker import Worker, add_in_order


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a whole split."""

    num_rows: int
    metrics: Metrics
    head_score: float | None
    """The score on the first `num_head_rows` rows of the split; None if that is 0."""

    @property
    def loss(self) -> float:
        return self.metrics.loss

    def named(self, prefix: str) -> dict[str, float]:
        """Return loss and metrics with a prefix before their names."""
        values = {"loss": self.loss, **self.metrics.values}
        return {f"{prefix}{name}": value for name, value in values.items()}


def evaluate(
    model: nn.Module,
    job: TrainJob,
    worker: Worker,
    threads: ShardThreads,
    parts: Parts,
    split: str,
    num_head_rows: int = 0,
) -> Evaluation:
    """Run the model over the hosted shards of a split, and add up the results of all workers.

    `parts`: returns the rows of a split and a shard.

    Raises as `evaluation_of`.
    """
    rules = rules_of(job)

    def sums_of(shard: int) -> Tensor:
        # Row i of a shard is row shard + i * num_shards of its split.
        shard_head_rows = max(0, -(-(num_head_rows - shard) // job.data.num_shards))
        return shard_sums(model, job, rules, parts(split, shard), shard_head_rows, worker.device)

    with evaluating(model) if job.model.class_path else contextlib.nullcontext():
        rows_LK = torch.stack(threads.map(sums_of, list(worker.shards)))
    return evaluation_of(worker.gather(rows_LK), job, split, num_head_rows)


def evaluation_of(sums_SK: Tensor, job: TrainJob, split: str, num_head_rows: int = 0) -> Evaluation:
    """Return the metrics behind the sums of all shards, which are added in shard order.

    Raises RowAccountError if the rows counted are not the rows of the split.
    """
    sums = add_in_order(sums_SK).tolist()
    num_rows, head_sum = sums[2:COMMON_SUMS]
    expected = job.data.num_rows(split)
    if num_rows != expected:
        raise RowAccountError(
            f"{num_rows:.0f} rows of the {split} split were counted, but it has {expected}"
        )
    num_head_rows = min(num_head_rows, expected)
    return Evaluation(
        num_rows=int(num_rows),
        metrics=rules_of(job).metrics(sums),
        head_score=head_sum / num_head_rows if num_head_rows else None,
    )


def shard_sums(
    model: nn.Module,
    job: TrainJob,
    rules: TargetRules,
    parts: Iterable[Rows],
    shard_head_rows: int,
    device: torch.device,
) -> Tensor:
    """Return the sums (K) over the rows of one shard, which come in parts of the shard."""
    sums = torch.zeros(rules.num_sums, dtype=torch.float64, device=device)
    most = block_rows(job) if device.type == "cuda" else piece_rows(job)
    first = 0
    for rows in parts:
        is_head_N = torch.arange(first, first + len(rows)) < shard_head_rows
        first += len(rows)
        if rows.lengths_N is not None:  # rows of about one length need little padding
            by_length = rows.lengths_N.argsort(stable=True)
            rows, is_head_N = rows.take(by_length), is_head_N[by_length.cpu()]
        pieces, heads = rows.pieces(most), torch.split(is_head_N.to(device), most)
        with torch.no_grad():
            for piece, is_head_B in zip(pieces, heads[: len(pieces)], strict=True):
                batch = piece.to(device).batch()
                sums += rules.sums(model_outputs(model, batch, job), batch.targets_N, is_head_B)
    return sums
