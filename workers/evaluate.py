"""Compute the metrics of a split: every row is counted exactly once, shard by shard.

C classes, K sums of a shard.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.config import TrainJob
from workers.errors import RowAccountError
from workers.gpu.shard_rows import block_rows
from workers.models.classify import classify, to_unit
from workers.models.recurrent import SequenceClassifier
from workers.pieces import MICRO_BATCH_ROWS
from workers.shard_threads import ShardThreads
from workers.shards.rows import Rows, ShardData
from workers.worker import Worker, add_in_order


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a whole split."""

    num_rows: int
    loss: float
    accuracy: float
    head_accuracy: float | None
    """The accuracy on the first `num_head_rows` rows of the split; None if that is 0."""
    confusion_CC: list[list[int]]
    """The number of rows by true class (first index) and predicted class (second index)."""

    def per_class(self) -> list[dict[str, float | int | None]]:
        """Return the precision and the recall of each class; None if the divisor is 0."""
        table = torch.tensor(self.confusion_CC)
        predicted, actual = table.sum(dim=0).tolist(), table.sum(dim=1).tolist()
        return [
            {
                "class": c,
                "rows": actual[c],
                "precision": self.confusion_CC[c][c] / predicted[c] if predicted[c] else None,
                "recall": self.confusion_CC[c][c] / actual[c] if actual[c] else None,
            }
            for c in range(len(actual))
        ]


def evaluate(
    model: SequenceClassifier,
    job: TrainJob,
    worker: Worker,
    threads: ShardThreads,
    data: dict[int, ShardData],
    split: str,
    num_head_rows: int = 0,
) -> Evaluation:
    """Run the model over the hosted shards of a split, and add up the results of all workers.

    Raises RowAccountError if the rows counted are not the rows of the split.
    """

    def sums_of(shard: int) -> Tensor:
        # Row i of a shard is row shard + i * num_shards of its split.
        rows = data[shard][split]
        shard_head_rows = max(0, -(-(num_head_rows - shard) // job.data.num_shards))
        return _shard_sums(model, job, rows, shard_head_rows, worker.device)

    rows_LK = torch.stack(threads.map(sums_of, list(worker.shards)))
    sums = add_in_order(worker.gather(rows_LK)).tolist()
    loss_sum, num_correct, num_rows, head_correct, *confusion = sums
    expected = job.data.num_rows(split)
    if num_rows != expected:
        raise RowAccountError(
            f"{num_rows:.0f} rows of the {split} split were counted, but it has {expected}"
        )
    classes = job.data.num_classes
    num_head_rows = min(num_head_rows, expected)
    return Evaluation(
        num_rows=int(num_rows),
        loss=loss_sum / num_rows,
        accuracy=num_correct / num_rows,
        head_accuracy=head_correct / num_head_rows if num_head_rows else None,
        confusion_CC=[
            [int(n) for n in confusion[c * classes : (c + 1) * classes]] for c in range(classes)
        ],
    )


def _shard_sums(
    model: SequenceClassifier,
    job: TrainJob,
    rows: Rows,
    shard_head_rows: int,
    device: torch.device,
) -> Tensor:
    """Return (4 + C*C) float64 numbers: loss sum, correct rows, rows, correct head rows, and the
    confusion matrix."""
    classes = job.data.num_classes
    part_rows = block_rows(job) if device.type == "cuda" else MICRO_BATCH_ROWS
    sums = torch.zeros(4 + classes * classes, dtype=torch.float64, device=device)
    seen = 0
    with torch.no_grad():
        parts = zip(
            torch.split(rows.images_NHW, part_rows),
            torch.split(rows.labels_N, part_rows),
            strict=True,
        )
        for images_BHW, labels_B in parts:
            if not len(labels_B):  # an empty shard still splits into one empty part
                continue
            images_BHW, labels_B = images_BHW.to(device), labels_B.to(device)
            logits_BC = classify(model, to_unit(images_BHW), job)
            predicted_B = logits_BC.argmax(dim=1)
            is_correct_B = predicted_B == labels_B
            sums[0] += F.cross_entropy(logits_BC, labels_B, reduction="sum")
            sums[1] += is_correct_B.sum()
            sums[2] += len(labels_B)
            sums[3] += is_correct_B[: max(0, shard_head_rows - seen)].sum()
            sums[4:] += torch.bincount(labels_B * classes + predicted_B, minlength=classes**2)
            seen += len(labels_B)
    return sums
