"""Compute the metrics of a trained model on any rows that fit it, in this process."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.trained.rows import RowsToEvaluate, rows_for
from orchestrator.trained.trained_run import TrainedRun

if TYPE_CHECKING:
    from workers.evaluate import Evaluation


@dataclass(frozen=True)
class RunEvaluation:
    """The metrics of a run's model on some rows."""

    trained: TrainedRun
    rows: RowsToEvaluate
    weights_sha256: str
    evaluation: "Evaluation"

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "run_id": self.trained.run.run_id,
            "checkpoint": self.trained.checkpoint,
            "weights_sha256": self.weights_sha256,
            "dataset": self.rows.dataset,
            "split": self.rows.split,
            "rows": self.evaluation.num_rows,
            **self.evaluation.named(""),
            **self.evaluation.metrics.details,
        }


def evaluate_run(
    trained: TrainedRun,
    dataset: str | None = None,
    split: str | None = None,
    data_dir: Path | None = None,
) -> RunEvaluation:
    """Evaluate the model of a run. The sums have the bits of those of training on the same rows.

    Args:
        dataset: the name of a data set, or `parquet:URI`; None for that of the run.
        split: see `rows_for`.
        data_dir: the folder with the idx files of a data set of images.

    Raises JobError.
    """
    from workers.models.own.installed import code_of
    from workers.trained.evaluate import evaluate_trained
    from workers.trained.load import load_trained

    rows = rows_for(trained, dataset, split, data_dir)
    with code_of(trained.job):
        model = load_trained(trained.job, trained.checkpoint)
        evaluation = evaluate_trained(
            model, rows.shape, rows.load_shard, rows.split, num_usable_cpus()
        )
    return RunEvaluation(trained, rows, model.weights_sha256, evaluation)
