"""rnnjob list, show: what the run folders tell."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator import runs
from orchestrator.cli.common import (
    explained,
    json_option,
    open_storage,
    print_json,
    storage_option,
)
from workers.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.runs import RunStatus

_DEFAULT_LAST = 20


@click.command("list")
@storage_option
@click.option("-a", "--all", "show_all", is_flag=True, help=f"Not only the last {_DEFAULT_LAST}.")
@click.option("-n", "--last", type=click.IntRange(min=1), help="Only the last so many.")
@click.option("--state", metavar="STATE", help="Only runs in this state.")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Only the ids.")
@explained
def list_command(
    storage: str | None,
    show_all: bool,
    last: int | None,
    state: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """List the runs of a storage, newest first."""
    place = open_storage(storage)
    found = runs.list_runs(place)
    if state:
        found = [status for status in found if status.state == state.upper()]
    shown = found if show_all else found[: last or _DEFAULT_LAST]
    if quiet:
        for status in shown:
            click.echo(status.run_id)
        return
    rows = [_row(RunFolder(place.child(status.run_id)), status) for status in shown]
    if as_json:
        print_json({"schema_version": 1, "runs": rows})
        return
    _print_rows(rows, place.where())
    if len(shown) < len(found):
        click.echo(f"{len(found) - len(shown)} older ones: --all", err=True)


def _row(run: RunFolder, status: "RunStatus") -> dict[str, Any]:
    result = (run.read_json(run.RESULT) or {}) if status.is_terminal else {}
    return {
        **status.to_json(),
        "test_accuracy": result.get("test_accuracy"),
        "epochs": result.get("epochs"),
        "weights_sha256": result.get("weights_sha256"),
    }


def _print_rows(rows: list[dict[str, Any]], where: str) -> None:
    from rich.table import Table

    from orchestrator.cli.view import age, plain_console

    if not rows:
        click.echo(f"no runs in {where}", err=True)
        return
    console = plain_console()
    columns = {
        "RUN": [row["run_id"] for row in rows],
        "STATE": [row["state"] for row in rows],
        "MODE": [row["mode"] for row in rows],
        "WORKERS": [str(row["workers"] or "-") for row in rows],
        "EPOCHS": [str(row["epochs"] or "-") for row in rows],
        "TEST ACC.": [_percent(row["test_accuracy"]) for row in rows],
        "WEIGHTS": [(row["weights_sha256"] or "-")[:12] for row in rows],
        "AGE": [age(row["submitted_at"]) for row in rows],
    }
    widths = {name: max(len(name), *map(len, cells)) + 2 for name, cells in columns.items()}
    for name in ("MODE", "WORKERS", "WEIGHTS", "EPOCHS", "AGE"):
        # An id that is cut off cannot be copied: rather a column less.
        if sum(widths[shown] for shown in columns) > console.width:
            del columns[name]
    table = Table(*columns, box=None, pad_edge=False)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    console.print(table, soft_wrap=True)


def _percent(value: float | None) -> str:
    return f"{value:.2%}" if value is not None else "-"


@click.command("show")
@click.argument("run_name", metavar="RUN")
@storage_option
@json_option
@explained
def show_command(run_name: str, storage: str | None, as_json: bool) -> None:
    """Show a run: state, metrics, result, files. RUN: an id, a unique prefix, or @last."""
    run = runs.find_run(open_storage(storage), run_name)
    status = runs.read_status(run)
    result = run.read_json(run.RESULT)
    epochs = [r for r in run.read_metrics() if r.get("kind") == "epoch"]
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "run_id": run.run_id,
                "run_folder": run.storage.where(),
                "status": status.to_json(),
                "result": result,
                "epochs": epochs,
                "provenance": run.read_json(run.PROVENANCE),
            }
        )
        return
    _print_run(run, status, result, epochs)


def _print_run(
    run: RunFolder, status: "RunStatus", result: Any, epochs: list[dict[str, Any]]
) -> None:
    from rich.table import Table

    from orchestrator.cli.view import age, outcome_rows, plain_console

    console = plain_console()
    head = Table(show_header=False, box=None, pad_edge=False)
    rows = outcome_rows(run, status, result or {})
    rows.insert(2, ("submitted", f"{age(status.submitted_at)} ago, {status.mode}"))
    for name, value in rows:
        head.add_row(name, value)
    console.print(head)
    if epochs:
        table = Table(box=None, pad_edge=False)
        for name in ("EPOCH", "LOSS", "ACC.", "VAL. LOSS", "VAL. ACC.", "SAMPLES/S", "ROWS"):
            table.add_column(name, justify="right")
        for epoch in epochs:
            table.add_row(
                str(epoch["epoch"]),
                f"{epoch['train_loss']:.4f}",
                f"{epoch['train_accuracy']:.2%}",
                f"{epoch['validation_loss']:.4f}" if "validation_loss" in epoch else "-",
                f"{epoch['validation_accuracy']:.2%}" if "validation_accuracy" in epoch else "-",
                f"{epoch['samples_per_s']:,.0f}",
                f"{epoch['rows_seen']:,}",
            )
        console.print()
        console.print(table)
    console.print(f"\nfiles: {', '.join(run.storage.list())}")
    if status.cure:
        console.print(f"Try: {status.cure}")
