"""The command `rnnjob show`."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import run_options
from orchestrator.cli.output import print_json
from orchestrator.runs.metrics import score_of, show_metric
from orchestrator.runs.result import read_result
from workers.records.run_folder import RunFolder

if TYPE_CHECKING:
    from orchestrator.runs import RunStatus


@click.command("show", epilog=example("rnnjob show @last"))
@run_options
@request_options
@explained
def show_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
) -> None:
    """Show the state, metrics, result and files of a run.

    RUN: an id, a unique prefix, or @last.
    """
    observer = requests.client(storage, address).observe(run_name)
    run, status = observer.run, observer.status()
    result = read_result(run)
    epochs = run.use_metrics(lambda records: [r for r in records if r["kind"] == "epoch"])
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

    from orchestrator.cli.console import plain_console
    from orchestrator.cli.output import age
    from orchestrator.display.outcome import outcome_rows

    console = plain_console()
    head = Table(show_header=False, box=None, pad_edge=False)
    rows = outcome_rows(run, status, result or {})
    rows.insert(2, ("submitted", f"{age(status.submitted_at)} ago, {status.mode}"))
    for name, value in rows:
        head.add_row(name, value)
    console.print(head)
    if epochs:
        table = Table(box=None, pad_edge=False)
        score = "ACC." if "train_accuracy" in epochs[0] else "MAE"
        for name in ("EPOCH", "LOSS", score, "VAL. LOSS", f"VAL. {score}", "SAMPLES/S", "ROWS"):
            table.add_column(name, justify="right")
        for epoch in epochs:
            table.add_row(
                str(epoch["epoch"]),
                f"{epoch['train_loss']:.4f}",
                _score(epoch, "train_"),
                f"{epoch['validation_loss']:.4f}" if "validation_loss" in epoch else "-",
                _score(epoch, "validation_"),
                f"{epoch['samples_per_s']:,.0f}",
                f"{epoch['rows_seen']:,}",
            )
        console.print()
        console.print(table)
    console.print(f"\nfiles: {', '.join(run.storage.list())}")
    if status.cure:
        console.print(f"Try: {status.cure}")


def _score(epoch: dict[str, Any], prefix: str) -> str:
    score = score_of(epoch, prefix)
    return show_metric(*score) if score else "-"
