"""rnnjob data import csv-long and csv-wide."""

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from orchestrator.cli.data.import_output import output_options, split_names, write
from orchestrator.cli.options.example import example
from workers.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def _csv_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add what both forms of CSV share."""
    for option in (
        click.option(
            "--delimiter",
            metavar="CHARACTER",
            help="What separates cells.  [default: a comma, or a tab in files named .tsv]",
        ),
        click.option(
            "--tokens", is_flag=True, help="Read the inputs as tokens: text, and not numbers."
        ),
        click.option(
            "--keep",
            metavar="COLUMNS",
            help="Columns to write as they are, such as a patient or a device, separated by "
            "commas. A column named split is kept in any case.",
        ),
        click.option(
            "--target", metavar="COLUMN", help="Column to predict.  [default: target, if it exists]"
        ),
    ):
        function = option(function)
    return function


_files = click.argument(
    "paths", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path)
)


@click.command(
    "csv-long",
    epilog=example(
        "rnnjob data import csv-long steps.csv --id recording --time t --target gesture"
    ),
)
@_files
@click.option(
    "--id",
    "id_column",
    metavar="COLUMN",
    help="Column that is equal in all rows of a sequence. Without it, each file is one sequence.  "
    "[default: id, if it exists]",
)
@click.option(
    "--time",
    metavar="COLUMN",
    help="Column with numbers or ISO 8601 times by which the rows of a sequence are sorted. "
    "Without it, they keep their order.  [default: time, if it exists]",
)
@click.option(
    "--inputs",
    metavar="COLUMNS",
    help="Columns with the features, separated by commas.  [default: all other columns]",
)
@_csv_options
@output_options
def csv_long_command(
    paths: tuple[Path, ...],
    id_column: str | None,
    time: str | None,
    target: str | None,
    inputs: str | None,
    keep: str | None,
    tokens: bool,
    delimiter: str | None,
    output: str | None,
    split: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert CSV with one row for each time step.

    The rows of a sequence may be anywhere in the files. The target, and each column that is kept,
    must have one value in all rows of a sequence.
    """
    from orchestrator.datasets.importing.csv_columns import CsvOptions
    from orchestrator.datasets.importing.csv_long import read_long

    options = CsvOptions(
        id_column, time, target, split_names(inputs), (), split_names(keep), tokens, False,
        _checked(delimiter),
    )  # fmt: skip
    write(lambda: read_long(list(paths), options), paths[0], output, split, force, as_json)


@click.command(
    "csv-wide",
    epilog=example("rnnjob data import csv-wide wide.csv --prefix x_ --target gesture"),
)
@_files
@click.option(
    "--prefix",
    "prefixes",
    metavar="TEXT",
    multiple=True,
    help="What the names of a feature's columns begin with, one column for each time step. Give "
    "one for each feature.  [default: one feature, all other columns]",
)
@click.option(
    "--id",
    "id_column",
    metavar="COLUMN",
    help="Column that identifies a sequence.  [default: id, if it exists]",
)
@click.option(
    "--inputs",
    metavar="COLUMNS",
    help="Columns with the time steps, separated by commas, instead of a prefix.",
)
@click.option(
    "--ragged",
    is_flag=True,
    help="The empty cells at the end of a row are not part of its sequence.",
)
@_csv_options
@output_options
def csv_wide_command(
    paths: tuple[Path, ...],
    prefixes: tuple[str, ...],
    id_column: str | None,
    target: str | None,
    inputs: str | None,
    ragged: bool,
    keep: str | None,
    tokens: bool,
    delimiter: str | None,
    output: str | None,
    split: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert CSV with one row for each sequence, and a column for each time step."""
    from orchestrator.datasets.importing.csv_columns import CsvOptions
    from orchestrator.datasets.importing.csv_wide import read_wide

    options = CsvOptions(
        id_column, None, target, split_names(inputs), prefixes, split_names(keep), tokens, ragged,
        _checked(delimiter),
    )  # fmt: skip
    write(lambda: read_wide(list(paths), options), paths[0], output, split, force, as_json)


def _checked(delimiter: str | None) -> str | None:
    delimiter = "\t" if delimiter == "\\t" else delimiter
    if delimiter is not None and (
        len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n'
    ):
        raise InputError(
            f"--delimiter is '{delimiter}'", "give one character, such as ; or \\t for a tab"
        )
    return delimiter
