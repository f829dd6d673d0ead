"""The metrics of a split."""

from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.unit.simulated import on_workers, single, tiny_job, tiny_shape, tiny_split
from workers.config import TrainJob
from workers.data.rows import Rows
from workers.data.targets.class_rules import per_class
from workers.errors import RowAccountError
from workers.evaluate import Evaluation, evaluate
from workers.models.recurrent import build_model
from workers.models.sequences import model_outputs
from workers.pieces import MICRO_BATCH_ROWS
from workers.shard_threads import ShardThreads
from workers.shards.rows_source import in_parts
from workers.worker import Worker


def evaluated(job: TrainJob, worker: Worker, split: str = "test", head_rows: int = 0) -> Evaluation:
    model = build_model(job.model, job.data, 1)

    def parts(split: str, shard: int) -> Iterable[Rows]:
        return in_parts(worker.load_shard(shard)[split], job.window)

    return evaluate(model, job, worker, ShardThreads(1), parts, split, head_rows)


def expected_logits(job: TrainJob, split: str) -> tuple[Tensor, Tensor]:
    rows = tiny_split(job.data, split)
    with torch.no_grad():
        model = build_model(job.model, job.data, 1)
        return model_outputs(model, rows.batch(), job), rows.targets_N


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_the_metrics_are_those_of_the_whole_split(
    tmp_path: Path, split: str, num_workers: int
) -> None:
    job = tiny_job(tmp_path)
    logits, labels = expected_logits(job, split)
    for result in on_workers(job, num_workers, lambda worker: evaluated(job, worker, split)):
        assert result.num_rows == job.data.num_rows(split)
        assert result.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)
        assert (
            result.metrics.values["accuracy"] == (logits.argmax(1) == labels).double().mean().item()
        )


def test_metrics_have_the_same_bits_on_any_number_of_workers(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    results = {repr(evaluated(job, single(job)))}
    for num_workers in (2, 3, 4):
        results |= {repr(e) for e in on_workers(job, num_workers, lambda w: evaluated(job, w))}
    assert len(results) == 1


def test_the_confusion_matrix_counts_true_class_by_predicted_class(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    logits, labels = expected_logits(job, "test")
    wanted = [[0] * 3 for _ in range(3)]
    for true, predicted in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
        wanted[true][predicted] += 1
    result = evaluated(job, single(job))
    assert result.metrics.details["confusion_matrix"] == wanted
    assert sum(map(sum, result.metrics.details["confusion_matrix"])) == 11


def test_precision_and_recall_are_none_if_the_divisor_is_0() -> None:
    assert per_class([[3, 1, 0], [2, 2, 0], [0, 0, 0]], ("a", "b", "c")) == [
        {"class": 0, "name": "a", "rows": 4, "precision": 0.6, "recall": 0.75},
        {"class": 1, "name": "b", "rows": 4, "precision": 2 / 3, "recall": 0.5},
        {"class": 2, "name": "c", "rows": 0, "precision": None, "recall": None},
    ]


@pytest.mark.parametrize("head_rows", [1, 4, 6, 10, 11])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_head_accuracy_is_that_of_the_first_rows_of_the_split(
    tmp_path: Path, head_rows: int, num_workers: int
) -> None:
    job = tiny_job(tmp_path)
    logits, labels = expected_logits(job, "test")
    right = (logits.argmax(1) == labels)[:head_rows].double().mean().item()
    for result in on_workers(job, num_workers, lambda w: evaluated(job, w, "test", head_rows)):
        assert result.head_score == right


def test_head_rows_are_counted_across_micro_batches(tmp_path: Path) -> None:
    shape = tiny_shape(num_shards=1, test_rows=2 * MICRO_BATCH_ROWS + 10)
    job = tiny_job(tmp_path, data=shape)
    logits, labels = expected_logits(job, "test")
    head = MICRO_BATCH_ROWS + 5
    right = (logits.argmax(1) == labels)[:head].double().mean().item()
    assert evaluated(job, single(job), head_rows=head).head_score == right


def test_head_accuracy_is_none_without_head_rows(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    assert evaluated(job, single(job)).head_score is None


def test_a_split_smaller_than_the_shards_is_counted_whole(tmp_path: Path) -> None:
    job = tiny_job(tmp_path, data=tiny_shape(test_rows=2))
    assert evaluated(job, single(job)).num_rows == 2


def test_a_row_missing_or_too_many_is_an_error_with_both_numbers(tmp_path: Path) -> None:
    job = tiny_job(tmp_path)
    claimed = tiny_job(tmp_path, data=tiny_shape(test_rows=12))
    with pytest.raises(
        RowAccountError, match="11 rows of the test split were counted, but it has 12"
    ):
        evaluated(claimed, single(job))
    with pytest.raises(
        RowAccountError, match="26 rows of the train split were counted, but it has 25"
    ):
        evaluated(tiny_job(tmp_path, data=tiny_shape(train_rows=25)), single(job), "train")
