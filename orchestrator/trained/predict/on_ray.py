"""Predict on Ray: Parquet files are cut into parts, and their predictions put together in order."""

from collections.abc import Callable, Sequence

import pyarrow as pa

from orchestrator.datasets.tables.unlabelled import TableBlocks
from orchestrator.driver.parts.request import InputFile, PredictRequest
from orchestrator.trained.parts import ProgramLauncher, Work
from orchestrator.trained.predict.found import find_inputs
from orchestrator.trained.predict.inputs import id_column, is_inverted, table_files
from orchestrator.trained.predict.output import Output
from orchestrator.trained.trained_run import TrainedRun
from orchestrator.trained.weights import weights_of
from workers.errors import InputError
from workers.trained.prediction_columns import id_schema

PARTIAL = ".partial"
"""What follows the name of the output in that of the folder with its parts."""


def prediction_work(
    trained: TrainedRun,
    names: Sequence[str],
    output: Output,
    launcher: ProgramLauncher,
    num_workers: int,
    invert: bool | None = None,
) -> Work:
    """Return the work of a prediction. Nothing is written yet.

    `invert`: whether bright becomes dark in images.

    Raises JobError if the files or the model cannot be used.
    """
    is_negative = is_inverted(trained, invert)
    tables = _tables(trained, names, is_negative)
    request = _request(trained, tables, output, is_negative)
    folder = output.folder.child(f"{output.name}{PARTIAL}")
    return Work(folder, request, launcher, num_workers)


def run_prediction(work: Work, tell: Callable[[int], None]) -> int:
    """Predict, and return the number of rows. The output is there, and its parts are gone.

    What was done before a failure is kept, unless the rows themselves are at fault.

    Raises JobError.
    """
    try:
        work.run(tell)
    except InputError:
        work.remove()
        raise
    work.remove()
    return sum(work.request.part_rows())


def _tables(trained: TrainedRun, names: Sequence[str], invert: bool) -> list[TableBlocks]:
    found = find_inputs(names, trained.job.data)
    if others := [file for file in found if file.kind != "table"]:
        or_else = "" if others[0].kind == "picture" else ", or convert it: rnnjob data import"
        raise InputError(
            f"{others[0].path} is no Parquet file, and only those are predicted on Ray",
            f"leave out --workers and --address{or_else}",
        )
    return [table for file in found for table in table_files(trained, file.path, invert)]


def _request(
    trained: TrainedRun, tables: list[TableBlocks], output: Output, invert: bool
) -> PredictRequest:
    from workers.trained.predict import BLOCK_ROWS

    ids = id_schema([table.id_type for table in tables])
    id_type = None
    if ids.names == ["id"]:
        id_type = "integer" if ids.field(0).type == pa.int64() else "text"
    files = [
        InputFile(
            uri=_absolute(table),
            path=table.file.path,
            name=table.file.name,
            shown=table.shown,
            size=table.file.size,
            modified_ns=table.file.modified_ns,
            digest=table.digest(),
            num_rows=table.num_rows,
            block_rows=table.block_rows(BLOCK_ROWS),
        )
        for table in tables
    ]
    return PredictRequest.model_validate(
        {
            "job": trained.job,
            "checkpoint": trained.checkpoint,
            "weights_sha256": weights_of(trained),
            "pip": trained.spec.env.pip,
            "files": files,
            "id_column": id_column(trained),
            "id_type": id_type,
            "invert": invert,
            "form": output.form,
            "output_folder": output.folder.uri,
            "output_name": output.name,
        }
    )


def _absolute(table: TableBlocks) -> str:
    """Return what opens the file's file system wherever the driver runs."""
    uri = table.tables.uri
    return uri if "://" in uri else table.file.path
