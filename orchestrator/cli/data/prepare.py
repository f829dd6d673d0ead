"""The commands below `rnnjob data`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.data.import_files import import_command
from orchestrator.cli.data.inspect import inspect_command
from orchestrator.cli.data.table_flags import table_options, table_options_from
from orchestrator.cli.errors import explained
from orchestrator.cli.options.completion_values import datasets
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option
from orchestrator.cli.output import echo, print_json
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.datasets.options import TableOptions
    from orchestrator.datasets.prepared import PreparedData
    from orchestrator.datasets.progress import Tell

_IS_COUNT = re.compile(r"[0-9]{1,18}")


@click.group("data", epilog=example("rnnjob data inspect rows.parquet"))
def data_command() -> None:
    """Look into, import and prepare data sets."""


data_command.add_command(inspect_command)
data_command.add_command(import_command)


@data_command.command("prepare", epilog=example("rnnjob data prepare --dataset mnist-sample"))
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    metavar="NAME",
    shell_complete=datasets,
    help="Data set: mnist, fashion-mnist, kmnist, mnist-sample, or parquet:URI.",
)
@table_options
@click.option(
    "--data-dir",
    envvar="RNNJOB_DATA_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with the data set's idx files, plain or .gz. Without it, they are downloaded.  "
    "[env: RNNJOB_DATA_DIR]",
)
@click.option(
    "--num-shards",
    default=8,
    show_default=True,
    help="Number of shards. A job can use at most this many workers.",
)
@click.option(
    "--validation-rows",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="Number of rows to hold out for validation: the first ones of the training split. "
    "auto: one row in twelve.",
)
@click.option("--force", is_flag=True, help="Cut the data set again, even if that was done before.")
@json_option
@explained
def prepare_command(
    dataset: str,
    data_dir: Path | None,
    num_shards: int,
    validation_rows: str,
    force: bool,
    as_json: bool,
    tokens: bool,
    assignments: tuple[str, ...],
    **flags: str | None,
) -> None:
    """Cut a data set into Parquet shards.

    rnnjob submit does this by itself when it is needed.
    """
    from orchestrator.datasets.options import TABLE_PREFIX
    from orchestrator.display.row_progress import RowProgress

    if num_shards < 1:
        raise InputError(f"--num-shards is {num_shards}", "use at least 1")
    if validation_rows != "auto" and not _IS_COUNT.fullmatch(validation_rows):
        raise InputError(
            f"--validation-rows is '{validation_rows}'", "give a number of rows, or auto"
        )
    options = table_options_from(assignments, flags)
    with RowProgress("preparing", None) as progress:
        tell = progress.tell
        if dataset.startswith(TABLE_PREFIX):
            data = _prepare_tables(dataset, options, tokens, num_shards, force, tell)
        else:
            held_out = validation_rows if validation_rows == "auto" else int(validation_rows)
            data = _prepare_images(dataset, options, data_dir, num_shards, held_out, force, tell)
    for note in data.origin.notes:
        echo(note, err=True)
    data.verify()
    if as_json:
        content = data.shape.model_dump()
        print_json(
            {"schema_version": 1, "folder": data.folder.where(), **content, "shards": data.shards}
        )
        return
    shape = data.shape
    echo(
        f"{dataset}: {shape.train_rows:,} training, {shape.validation_rows:,} validation, "
        f"{shape.test_rows:,} test rows in {shape.num_shards} shards"
    )
    echo(f"fingerprint {shape.fingerprint}")
    echo(f"in {data.folder.where()}")


def _prepare_tables(
    name: str,
    options: "TableOptions",
    as_tokens: bool,
    num_shards: int,
    force: bool,
    tell: "Tell",
) -> "PreparedData":
    from orchestrator.datasets.options import TABLE_PREFIX
    from orchestrator.datasets.tables.files import absolute_uri
    from orchestrator.datasets.tables.prepare import prepare_tables

    name = TABLE_PREFIX + absolute_uri(name.removeprefix(TABLE_PREFIX))
    return prepare_tables(name, options, as_tokens, num_shards, force=force, tell=tell)


def _prepare_images(
    name: str,
    options: "TableOptions",
    data_dir: Path | None,
    num_shards: int,
    validation_rows: int | str,
    force: bool,
    tell: "Tell",
) -> "PreparedData":
    from orchestrator.datasets.options import TABLE_PREFIX
    from orchestrator.datasets.prepare import prepare

    if given := options.model_dump(exclude_defaults=True):
        raise InputError(
            f"dataset.{min(given)} is for tables, the data set is {name}",
            f"leave it out, or name tables: --dataset {TABLE_PREFIX}URI",
        )
    return prepare(name, data_dir, num_shards, validation_rows, force=force, tell=tell)
