"""The command `rnnjob predict`."""

import sys
import time
from typing import TYPE_CHECKING, Any, Literal

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.example import example
from orchestrator.cli.options.on_ray import on_ray_from, on_ray_options
from orchestrator.cli.options.run import (
    json_option,
    open_storage,
    storage_option,
    trained_run_argument,
    trust_code_option,
)
from orchestrator.cli.output import echo, one_line, print_json, print_json_lines
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.trained.on_ray import OnRay
    from orchestrator.trained.predict.inputs import Inputs
    from orchestrator.trained.predict.output import Output
    from orchestrator.trained.trained_run import TrainedRun


@click.command("predict", epilog=example("rnnjob predict @last digit.png"))
@trained_run_argument
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="URI",
    help="File to write, which ends in .jsonl or .parquet: a path, or a URI that pyarrow can open.",
)
@click.option("--force", is_flag=True, help="Replace the output if it exists.")
@click.option(
    "--invert/--no-invert",
    default=None,
    help="Make what is bright in images dark.  [default: pictures whose border is bright, if the "
    "model was trained on bright on dark]",
)
@click.option(
    "--csv",
    "csv_form",
    type=click.Choice(["long", "wide"]),
    help="Whether a row of CSV is a time step (long) or a sequence (wide).  [default: long, if "
    "there are as many columns for inputs as the model reads features]",
)
@click.option(
    "--inputs",
    "csv_inputs",
    metavar="COLUMNS",
    help="Columns of CSV with the features of a time step or, if wide, the time steps, separated "
    "by commas.",
)
@click.option(
    "--prefix",
    "csv_prefixes",
    metavar="TEXT",
    multiple=True,
    help="What the columns of a feature begin with in wide CSV. Give one for each feature.",
)
@click.option("--delimiter", metavar="CHARACTER", help="What separates cells of CSV.")
@on_ray_options
@trust_code_option
@storage_option
@json_option
@explained
def predict_command(
    run_name: str,
    inputs: tuple[str, ...],
    output: str | None,
    force: bool,
    invert: bool | None,
    csv_form: Literal["long", "wide"] | None,
    csv_inputs: str | None,
    csv_prefixes: tuple[str, ...],
    delimiter: str | None,
    trust_code: bool,
    storage: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Predict the class or the number of each row of files, in their order.

    \b
    RUN: an id, a unique prefix, or @last. RUN:best and RUN:STEP name a checkpoint.
    INPUT: files, folders or patterns. A model of images reads PNG, JPEG, idx and
    Parquet; one of sequences reads Parquet and CSV.

    Without -o, a terminal gets a table, and anything else JSON lines.

    With --workers or --address, Parquet files are cut into parts, and what was interrupted goes on
    with the same command. The predictions are the same, bit for bit.
    """
    from orchestrator.trained.predict.csv import CsvFlags
    from orchestrator.trained.predict.inputs import InputFlags, open_inputs
    from orchestrator.trained.predict.output import open_output
    from orchestrator.trained.trained_run import open_trained

    target = open_output(output, force) if output else None
    csv = CsvFlags(csv_form, _names(csv_inputs), csv_prefixes, delimiter)
    with terminated_as(KeyboardInterrupt):
        trained = open_trained(open_storage(storage), run_name, trust_code)
        if on_ray := _on_ray(flags, trained, target):
            assert target is not None
            _write_on_ray(trained, inputs, target, on_ray, force, as_json, invert)
            return
        opened = open_inputs(trained, inputs, InputFlags(invert, csv))
        if target:
            _write(trained, opened, target, as_json)
        else:
            _print(trained, opened, as_json)
    for note in opened.notes.all():
        echo(f"note: {one_line(note)}", err=True)


def _names(value: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def _on_ray(
    flags: dict[str, Any], trained: "TrainedRun", output: "Output | None"
) -> "OnRay | None":
    """Return where to compute; None for this process. Raises InputError or ClusterError."""
    storages = [trained.run.storage, *([output.folder] if output else [])]
    on_ray = on_ray_from(flags, storages)
    if on_ray and output is None:
        raise InputError(
            "--workers and --address write a file, and none is named",
            "name one: --output predictions.parquet",
        )
    return on_ray


def _write_on_ray(
    trained: "TrainedRun",
    inputs: tuple[str, ...],
    output: "Output",
    on_ray: "OnRay",
    force: bool,
    as_json: bool,
    invert: bool | None,
) -> None:
    from orchestrator.display.row_progress import RowProgress
    from orchestrator.trained.predict.on_ray import prediction_work, run_prediction

    begin = time.monotonic()
    work = prediction_work(trained, inputs, output, on_ray.launcher, on_ray.num_workers, invert)
    if done := work.begin(force):
        echo(f"note: {done} of {len(work.request.part_rows())} parts are done already", err=True)
    try:
        with RowProgress("predicting", sum(work.request.part_rows())) as progress:
            num_rows = run_prediction(work, progress.set)
    except BaseException:
        if work.folder.exists():
            echo(
                f"note: what is done is kept in {work.folder.where()}: the same command goes on",
                err=True,
            )
        raise
    print_written(trained, output, num_rows, time.monotonic() - begin, as_json)


def _write(trained: "TrainedRun", inputs: "Inputs", output: "Output", as_json: bool) -> None:
    from orchestrator.display.row_progress import RowProgress
    from orchestrator.trained.predict.here import prediction_columns, predictions
    from orchestrator.trained.predict.output import write_output

    begin = time.monotonic()
    with RowProgress("predicting", inputs.num_rows) as progress:
        schema = prediction_columns(trained, inputs)
        num_rows = write_output(output, schema, predictions(trained, inputs), progress.advance)
    print_written(trained, output, num_rows, time.monotonic() - begin, as_json)


def print_written(
    trained: "TrainedRun", output: "Output", num_rows: int, seconds: float, as_json: bool
) -> None:
    """Say what was written."""
    from orchestrator.units import show_duration

    if as_json:
        content: dict[str, Any] = {
            "schema_version": 1,
            "run_id": trained.run.run_id,
            "checkpoint": trained.checkpoint,
            "output": output.where,
            "rows": num_rows,
            "wall_s": round(seconds, 3),
        }
        print_json(content)
        return
    echo(f"{output.where}: {num_rows:,} rows in {show_duration(seconds)}")


def _print(trained: "TrainedRun", inputs: "Inputs", as_json: bool) -> None:
    from orchestrator.cli.models.prediction_table import print_rows
    from orchestrator.display.row_progress import RowProgress
    from orchestrator.trained.predict.here import predictions
    from workers.trained.json_lines import json_lines

    stdout = sys.stdout  # while a model's own code is there, what it prints goes elsewhere
    batches = predictions(trained, inputs)
    if stdout.isatty() and not as_json:
        print_rows(batches, stdout)
        return
    # On a terminal, the rows themselves show how far it is.
    with RowProgress("predicting", inputs.num_rows, not stdout.isatty()) as progress:
        for batch in batches:
            print_json_lines(json_lines(batch), stdout)
            progress.advance(batch.num_rows)
