"""The test rows of a run, if this machine has them. Nothing is downloaded for them."""

from pathlib import Path

from orchestrator.datasets.cache import default_cache
from orchestrator.datasets.sources import is_local
from orchestrator.trained.rows import RowsToEvaluate, rows_for
from orchestrator.trained.trained_run import TrainedRun
from workers.errors import InputError, StorageError


def test_rows_at_hand(trained: TrainedRun, data_dir: Path | None) -> RowsToEvaluate | str:
    """Return the test rows that a run was evaluated on, or why they cannot be had here.

    `data_dir`: the folder with the idx files of a data set of images.
    """
    dataset = trained.spec.dataset
    is_image = not (dataset.is_table or dataset.prepared)
    if is_image and not (data_dir or dataset.data_dir or is_local(dataset.name, default_cache())):
        return f"{dataset.name} is not on this machine"
    try:
        return rows_for(trained, None, None, data_dir)
    except (InputError, StorageError) as error:
        return error.cause
