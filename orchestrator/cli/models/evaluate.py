"""The command `rnnjob evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.example import example
from orchestrator.cli.options.on_ray import on_ray_from, on_ray_options
from orchestrator.cli.options.run import (
    json_option,
    open_storage,
    storage_option,
    test_rows_option,
    trained_run_argument,
    trust_code_option,
)
from orchestrator.cli.output import print_json, printable

if TYPE_CHECKING:
    from orchestrator.trained.evaluation import RunEvaluation
    from orchestrator.trained.on_ray import OnRay
    from orchestrator.trained.trained_run import TrainedRun


@click.command("evaluate", epilog=example("rnnjob evaluate @last --split validation"))
@trained_run_argument
@click.option(
    "--dataset",
    metavar="NAME",
    help="Data set to evaluate on: the name of a set of images, or parquet:URI.  "
    "[default: that of the run]",
)
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test", "all"]),
    help="Split to evaluate on. Of tables, `all` means all rows.  "
    "[default: test; with parquet:URI all]",
)
@test_rows_option
@on_ray_options
@trust_code_option
@storage_option
@json_option
@explained
def evaluate_command(
    run_name: str,
    dataset: str | None,
    split: str | None,
    data_dir: Path | None,
    trust_code: bool,
    storage: str | None,
    as_json: bool,
    **flags: Any,
) -> None:
    """Compute the metrics of a run's model on any data that fit it.

    RUN: an id, a unique prefix, or @last. RUN:best and RUN:STEP name a checkpoint.

    The sums are the same, bit for bit, in this process and on any number of workers.
    """
    from orchestrator.trained.evaluation import evaluate_run
    from orchestrator.trained.trained_run import open_trained

    trained = open_trained(open_storage(storage), run_name, trust_code)
    if on_ray := on_ray_from(flags, [trained.run.storage]):
        with terminated_as(KeyboardInterrupt):
            result = _evaluated_on_ray(trained, on_ray, dataset, split, data_dir)
    else:
        result = evaluate_run(trained, dataset, split, data_dir)
    if as_json:
        print_json(result.to_json())
    else:
        _print(result)


def _evaluated_on_ray(
    trained: "TrainedRun",
    on_ray: "OnRay",
    dataset: str | None,
    split: str | None,
    data_dir: Path | None,
) -> "RunEvaluation":
    from orchestrator.display.row_progress import RowProgress
    from orchestrator.trained.evaluation_on_ray import evaluate_on_ray

    with RowProgress("evaluating", None) as progress:
        return evaluate_on_ray(
            trained, on_ray.launcher, on_ray.num_workers, progress.set, dataset, split, data_dir
        )


def _print(result: "RunEvaluation") -> None:
    from rich.table import Table

    from orchestrator.cli.console import plain_console
    from orchestrator.runs.metrics import metric_name, metrics_of, show_metric

    content = result.to_json()
    console = plain_console()
    table = Table(show_header=False, box=None, pad_edge=False)
    checkpoint = content["checkpoint"]
    rows: list[tuple[str, Any]] = [
        ("run", content["run_id"] + (f":{checkpoint}" if checkpoint is not None else "")),
        ("weights", content["weights_sha256"][:16]),
        ("data", f"{content['dataset']}, {content['rows']:,} {content['split']} rows"),
        *(
            (metric_name(name), show_metric(name, value))
            for name, value in metrics_of(content, "").items()
        ),
        ("loss", f"{content['loss']:.4f}"),
    ]
    for name, value in rows:
        table.add_row(name, printable(str(value)))
    console.print(table)
