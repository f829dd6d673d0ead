"""The command `rnnjob report`."""

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
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.runs.report.content import Reported
    from workers.records.run_folder import RunFolder
    from workers.trained.explain.explanation import Explanation


@click.command("report", epilog=example("rnnjob report @last"))
@click.argument("names", metavar="RUN...", nargs=-1, required=True, shell_complete=run_ids)
@storage_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File to write.  [default: report.html in the run's folder, or here for several runs]",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option(
    "--explain",
    "explain_it",
    is_flag=True,
    help="Add what the model does while it reads, as `rnnjob explain` finds it.",
)
@click.option("--open", "open_it", is_flag=True, help="Open the page in your browser.")
@test_rows_option
@trust_code_option
@json_option
@explained
def report_command(
    names: tuple[str, ...],
    storage: str | None,
    output: Path | None,
    force: bool,
    explain_it: bool,
    open_it: bool,
    data_dir: Path | None,
    trust_code: bool,
    as_json: bool,
) -> None:
    """Write an HTML page about a run, or about several of one task: one file that loads nothing.

    RUN: an id, a unique prefix, @last, or what the ids of repeats begin with.

    The page has the curves, where the time went, the workers over time, the test split by class
    with the most confident mistakes or the residuals, the spec, the origin and the account of the
    rows. A run has such a page in its folder when it ends; this command adds what needs the test
    rows, where they are on this machine.
    """
    from orchestrator.runs.repeats import find_runs
    from orchestrator.runs.report.html import MAX_RUNS, render

    place = open_storage(storage)
    folders = [run for name in names for run in find_runs(place, name)]
    if len(folders) > MAX_RUNS:
        raise InputError(
            f"{len(folders)} runs do not fit one report", f"name up to {MAX_RUNS} of them"
        )
    in_folder = output is None and len(folders) == 1
    file = Path("report.html") if output is None else output
    if not in_folder:
        _check_output(file, force)
    reported = [_reported(run, trust_code, data_dir) for run in folders]
    added = [_explained(run, trust_code, data_dir) for run in folders if explain_it]
    try:
        page = render(reported, added)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"a result.json is not what a run writes: {type(error).__name__}: {error}",
            f"name runs whose folders are whole; named were {', '.join(names)}",
        ) from error
    where = _written_to_folder(folders[0], page) if in_folder else _written(file, page)
    if as_json:
        print_json({"schema_version": 1, "report": where, "bytes": len(page)})
    else:
        echo(f"wrote {where}")
    if open_it:
        _open(where)


def _reported(run: "RunFolder", trust_code: bool, data_dir: Path | None) -> "Reported":
    """Read a run that has ended, with the predictions for its test rows. Raises InputError."""
    from orchestrator.observe.ended import ended_result
    from orchestrator.runs.report.content import read_reported
    from orchestrator.trained.test_split import predicted_test_rows

    result = ended_result(run, "its report is made")
    return read_reported(run, result, predicted_test_rows(run, trust_code, data_dir))


def _explained(run: "RunFolder", trust_code: bool, data_dir: Path | None) -> "Explanation":
    from orchestrator.trained.explain import explain_run
    from orchestrator.trained.trained_run import open_trained
    from workers.storage.storage import Storage

    trained = open_trained(Storage(run.storage.parent_uri), run.run_id, trust_code)
    return explain_run(trained, data_dir=data_dir)


def _check_output(file: Path, force: bool) -> None:
    from orchestrator.trained.new_output import check_output

    check_output(file, force)


def _written(file: Path, page: bytes) -> str:
    from orchestrator.trained.new_output import write_output

    write_output(file, page)
    return str(file)


def _written_to_folder(run: "RunFolder", page: bytes) -> str:
    run.storage.write(run.REPORT, page)
    return run.storage.where(run.REPORT)


def _open(where: str) -> None:
    """Open a file in the browser. Raises InputError if it is on no file system of this machine."""
    import webbrowser

    file = Path(where)
    if not file.is_file():
        raise InputError(f"{where} is not on this machine", "write the page to a file: -o FILE")
    if not webbrowser.open(file.resolve().as_uri()):
        echo("no browser was found; open the file yourself", err=True)
