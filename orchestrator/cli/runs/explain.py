"""The command `rnnjob explain`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.completion_values import run_ids
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import (
    json_option,
    open_storage,
    storage_option,
    test_rows_option,
    trust_code_option,
)
from orchestrator.cli.output import echo, print_json

if TYPE_CHECKING:
    from workers.storage.storage import Storage
    from workers.trained.explain.explanation import Explanation


@click.command("explain", epilog=example("rnnjob explain @last --row 3 -o explained.html"))
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=run_ids)
@click.option(
    "--rows",
    type=click.IntRange(min=1, max=100_000),
    default=256,
    show_default=True,
    metavar="N",
    help="How many rows to read: the first ones of the test split.",
)
@click.option(
    "--row",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Row of the test split to follow step by step.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the figures as one HTML page, too.",
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Write each figure as an SVG file, too.",
)
@click.option("--force", is_flag=True, help="Replace FILE and the figures in FOLDER.")
@test_rows_option
@trust_code_option
@storage_option
@json_option
@explained
def explain_command(
    names: tuple[str, ...],
    rows: int,
    row: int,
    output: Path | None,
    figures: Path | None,
    force: bool,
    data_dir: Path | None,
    trust_code: bool,
    storage: str | None,
    as_json: bool,
) -> None:
    """Show what a recurrent model does while it reads. Several runs of one task are compared.

    RUN: an id, a unique prefix, or @last. RUN:best and RUN:STEP name a checkpoint.

    At each time step: the norm of the gradient of the loss by the state, how far the gates of an
    LSTM or a GRU are open, the score if the model had read no more, and one row step by step. Of a
    model of your own, the gradient is that by the input. Everything is computed here, with the
    same numbers each time. The run's folder is only read.
    """
    from orchestrator.runs.report.over_time import figures as drawn
    from orchestrator.trained.new_output import check_output

    if output:
        check_output(output, force)
    if figures:
        check_output(figures, force, _has_only_figures)
    place = open_storage(storage)
    found = [_explained(place, name, rows, row, data_dir, trust_code) for name in names]
    pictures = drawn(found)
    if output:
        _write_page(output, found)
    if figures:
        _write_figures(figures, {f"{name}.svg": each.file() for name, each in pictures.items()})
    if as_json:
        from workers.trained.explain.explanation import to_json

        print_json({"schema_version": 1, "runs": [to_json(each) for each in found]})
    else:
        _print(found)
    for written in filter(None, (output, figures)):
        echo(f"wrote {written}", err=as_json)


def _explained(
    place: "Storage", name: str, rows: int, row: int, data_dir: Path | None, trust_code: bool
) -> "Explanation":
    from orchestrator import runs
    from orchestrator.observe.ended import ended_result
    from orchestrator.trained.explain import explain_run
    from orchestrator.trained.trained_run import open_trained

    ended_result(runs.find_run(place, name.partition(":")[0]), "it is explained")
    return explain_run(open_trained(place, name, trust_code), rows, row, data_dir)


def _has_only_figures(folder: Path) -> bool:
    return all(file.suffix == ".svg" for file in folder.iterdir())


def _write_page(file: Path, found: list["Explanation"]) -> None:
    from orchestrator.runs.report.html import render_explained
    from orchestrator.trained.new_output import write_output

    write_output(file, render_explained(found))


def _write_figures(folder: Path, files: dict[str, bytes]) -> None:
    from orchestrator.trained.new_output import new_folder

    with new_folder(folder, files):
        pass


def _print(found: list["Explanation"]) -> None:
    from orchestrator.cli.console import plain_console
    from orchestrator.display.explanation import WIDTH, summary

    console = plain_console(WIDTH)
    for part in summary(found):
        console.print(part)
