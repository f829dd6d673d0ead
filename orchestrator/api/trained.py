"""Use the model of a run. Each function imports torch when it is called."""

import contextlib
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.trained.trained_run import TrainedRun, open_trained
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from torch import nn


def model(run: RunFolder, checkpoint: str | int | None, trust_code: bool) -> "nn.Module":
    """Return a run's model with its weights. Raises JobError."""
    from workers.models.own.installed import code_of
    from workers.trained.load import load_trained

    trained = _open(run, checkpoint, trust_code)
    with _own_threads(), code_of(trained.job):
        return load_trained(trained.job, trained.checkpoint).module


def evaluate(
    run: RunFolder,
    checkpoint: str | int | None,
    trust_code: bool,
    dataset: str | None,
    split: str | None,
    data_dir: str | Path | None,
) -> dict[str, Any]:
    """Return the metrics of a run's model. Raises JobError."""
    from orchestrator.trained.evaluation import evaluate_run

    folder = data_dir or os.environ.get("RNNJOB_DATA_DIR")
    trained = _open(run, checkpoint, trust_code)
    with _own_threads():
        found = evaluate_run(trained, dataset, split, Path(folder) if folder else None)
    return found.to_json()


def predict(
    run: RunFolder,
    checkpoint: str | int | None,
    trust_code: bool,
    inputs: Sequence[str | Path],
    invert: bool | None,
) -> pa.Table:
    """Return what a run's model says of each row of files. Raises JobError."""
    from orchestrator.trained.predict.here import prediction_columns, predictions
    from orchestrator.trained.predict.inputs import InputFlags, open_inputs

    trained = _open(run, checkpoint, trust_code)
    opened = open_inputs(trained, [str(name) for name in inputs], InputFlags(invert))
    with _own_threads():
        schema = prediction_columns(trained, opened)
        table = pa.Table.from_batches(predictions(trained, opened), schema)
    for note in opened.notes.all():
        warnings.warn(note, stacklevel=3)  # the line that calls Run.predict
    return table


def _open(run: RunFolder, checkpoint: str | int | None, trust_code: bool) -> TrainedRun:
    name = run.run_id if checkpoint is None else f"{run.run_id}:{checkpoint}"
    return open_trained(Storage(run.storage.parent_uri), name, trust_code)


@contextlib.contextmanager
def _own_threads() -> Iterator[None]:
    """Give the caller its number of torch's threads back."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)
