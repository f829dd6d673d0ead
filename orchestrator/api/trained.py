"""Use the model of a run. Each function imports torch when it is called."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.display.row_progress import RowProgress
from orchestrator.trained.on_ray import OnRay
from orchestrator.trained.trained_run import TrainedRun, open_trained
from workers.errors import InputError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from torch import nn

    from orchestrator.trained.predict.inputs import Inputs
    from orchestrator.trained.predict.output import Output

_Names = Sequence[str | Path]


def opened(run: RunFolder, checkpoint: str | int | None, trust_code: bool) -> TrainedRun:
    """Return what is known of a run's model. Raises JobError."""
    name = run.run_id if checkpoint is None else f"{run.run_id}:{checkpoint}"
    return open_trained(Storage(run.storage.parent_uri), name, trust_code)


def model(trained: TrainedRun) -> "nn.Module":
    """Return a run's model with its weights. Raises JobError."""
    from workers.models.own.installed import code_of
    from workers.trained.load import load_trained

    with _own_threads(), code_of(trained.job):
        return load_trained(trained.job, trained.checkpoint).module


def evaluate(
    trained: TrainedRun,
    dataset: str | None,
    split: str | None,
    data_dir: str | Path | None,
    place: OnRay | None,
) -> dict[str, Any]:
    """Return the metrics of a run's model. Raises JobError."""
    from orchestrator.trained.evaluation import evaluate_run
    from orchestrator.trained.evaluation_on_ray import evaluate_on_ray

    folder = _data_dir(data_dir)
    with _own_threads():
        if place is None:
            return evaluate_run(trained, dataset, split, folder).to_json()
        with RowProgress("evaluating", None) as progress:
            return evaluate_on_ray(
                trained, place.launcher, place.num_workers, progress.set, dataset, split, folder
            ).to_json()


def predict(trained: TrainedRun, inputs: _Names, invert: bool | None) -> pa.Table:
    """Return what a run's model says of each row of files. Raises JobError."""
    from orchestrator.trained.predict.here import prediction_columns, predictions

    found = _found(trained, inputs, invert)
    with _own_threads():
        schema = prediction_columns(trained, found)
        table = pa.Table.from_batches(predictions(trained, found), schema)
    _warn(found)
    return table


def predict_batches(
    trained: TrainedRun, inputs: _Names, invert: bool | None
) -> Iterator[pa.RecordBatch]:
    """Yield what `predict` returns. Raises JobError."""
    from orchestrator.trained.predict.here import predictions

    found = _found(trained, inputs, invert)
    # While a model's own code is there, what is printed goes to stderr, but what the caller's loop
    # prints does not. What the model prints in threads at that moment goes where the loop prints.
    stdout = sys.stdout
    with _own_threads():
        for batch in predictions(trained, found):
            with contextlib.redirect_stdout(stdout):
                yield batch
    _warn(found, stacklevel=3)


def output_at(output: str | Path, force: bool) -> "Output":
    """Return the file for predictions. Raises InputError or StorageError."""
    from orchestrator.trained.predict.output import open_output

    return open_output(str(output), force)


def predict_to(
    trained: TrainedRun,
    output: "Output",
    inputs: _Names,
    invert: bool | None,
    place: OnRay | None,
    force: bool,
) -> int:
    """Write what `predict` returns, and return the number of rows. Raises JobError."""
    from orchestrator.trained.predict.here import prediction_columns, predictions
    from orchestrator.trained.predict.on_ray import prediction_work, run_prediction
    from orchestrator.trained.predict.output import write_output

    if place:
        names = [str(name) for name in inputs]
        with _own_threads():
            work = prediction_work(
                trained, names, output, place.launcher, place.num_workers, invert
            )
        work.begin(force)
        with RowProgress("predicting", sum(work.request.part_rows())) as progress:
            return run_prediction(work, progress.set)
    found = _found(trained, inputs, invert)
    with _own_threads(), RowProgress("predicting", found.num_rows) as progress:
        schema = prediction_columns(trained, found)
        num_rows = write_output(output, schema, predictions(trained, found), progress.advance)
    _warn(found)
    return num_rows


def export(
    trained: TrainedRun,
    format_name: str,
    path: str | Path | None,
    force: bool,
    data_dir: str | Path | None,
) -> dict[str, Any]:
    """Write a run's model in a format. Raises JobError."""
    from orchestrator.trained.export import FORMATS, export_run

    if format_name not in FORMATS:
        raise InputError(f"'{format_name}' is no format", f"name one of {', '.join(FORMATS)}")
    output = None if path is None else Path(path)
    with _own_threads():
        return export_run(trained, format_name, output, force, _data_dir(data_dir)).to_json()


def _found(trained: TrainedRun, inputs: _Names, invert: bool | None) -> "Inputs":
    from orchestrator.trained.predict.inputs import InputFlags, open_inputs

    return open_inputs(trained, [str(name) for name in inputs], InputFlags(invert))


def _warn(found: "Inputs", stacklevel: int = 4) -> None:
    """`stacklevel`: that of the caller's line."""
    for note in found.notes.all():
        warnings.warn(note, stacklevel=stacklevel)


def _data_dir(given: str | Path | None) -> Path | None:
    folder = given or os.environ.get("RNNJOB_DATA_DIR")
    return Path(folder).expanduser() if folder else None


@contextlib.contextmanager
def _own_threads() -> Iterator[None]:
    """Give the caller its number of torch's threads back, and its smallest numbers."""
    import torch

    from workers.models.cpu_kernels import flushes_denormals

    num_threads, flushes = torch.get_num_threads(), flushes_denormals()
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        torch.set_flush_denormal(flushes)
