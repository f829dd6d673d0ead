"""The command `rnnjob scaling`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import (
    RequestFlags,
    ShippingFlags,
    address_option,
    request_options,
    shipping_options,
)
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, verbose_option
from orchestrator.cli.options.spec import spec_from, spec_options_with
from orchestrator.cli.output import echo, print_json

if TYPE_CHECKING:
    from orchestrator.runs.scaling import Curve

_EXAMPLE = "rnnjob scaling --workers 1,2 --dataset mnist-sample --set model.hidden_size=32"
_WORKERS = click.option(
    "--workers",
    "--num-workers",
    required=True,
    metavar="N,N...",
    help="Numbers of workers to measure, such as 1,2,4,8.",
)


@click.command("scaling", epilog=example(_EXAMPLE))
@spec_options_with(_WORKERS)
@address_option
@request_options
@shipping_options
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    default=50,
    show_default=True,
    help="Steps to measure with each number of workers.",
)
@click.option(
    "--warm-up",
    type=click.IntRange(min=0),
    default=10,
    show_default=True,
    help="Steps before them, which are not counted.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.html",
    help="Write a page with the curve, too: one file that loads nothing.",
)
@click.option("--force", is_flag=True, help="Replace FILE.html if it exists.")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the ids of the runs.")
@verbose_option
@explained
def scaling_command(
    workers: str,
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    address: str | None,
    requests: RequestFlags,
    sent: ShippingFlags,
    steps: int,
    warm_up: int,
    output: Path | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Measure the speed of a job on several numbers of workers, and where adding more stops paying.

    The job runs for --warm-up and --steps steps with each number of workers, one run after the
    other, on Ray on this machine or on the cluster that --address names. Each is a run like any
    other, with an id that ends in -workersN. All must end with the same weights.

    All workers have the same size: --cpus-per-worker is by default 1 on a cluster, and here the
    share of the CPUs that each of the most workers gets.
    """
    from orchestrator import runs
    from orchestrator.cli.jobs.scaling_runs import (
        check_room,
        check_same_weights,
        measured,
        specs_for,
        uneven,
        worker_numbers,
    )
    from orchestrator.cli.options.destination import launcher_for
    from orchestrator.cli.repeats import check_all, leave_as, run_all
    from orchestrator.cluster.connection import given_address
    from orchestrator.trained.new_output import check_output

    numbers = worker_numbers(workers)
    if output is not None:
        check_output(output, force)
    cluster = given_address(address)
    shipping = sent.shipping(cluster)
    spec = spec_from(config, preset, assignments, flags)

    launcher = partial(
        launcher_for,
        runs.RAY,
        cluster,
        storage=spec.storage,
        requests=requests,
        shipping=shipping,
        verbose=verbose,
    )
    shared = launcher() if cluster else None
    specs = specs_for(spec, numbers, warm_up + steps, run_id, is_here=cluster is None)
    jobs = check_all(specs, lambda: shared or launcher())
    client = requests.client(spec.storage, cluster) if cluster else None
    if client:
        check_room(jobs, client.connection(cluster))

    def warn(text: str) -> None:
        echo(f"warning: {text}", err=True)

    if not quiet:
        for warning in uneven(spec.dataset.num_shards, numbers):
            warn(warning)
    ended = run_all(jobs, client, at_once=1, as_json=as_json, quiet=quiet, verbose=verbose)
    curve = measured(jobs, ended, warm_up, warn)
    if as_json:
        print_json(curve.to_json())
    if curve.points:
        _show(curve, output, quiet=quiet or as_json)
        check_same_weights(curve, spec)
    leave_as(jobs, ended)


def _show(curve: "Curve", output: Path | None, *, quiet: bool) -> None:
    """Print a curve, and write its page. Raises StorageError."""
    from orchestrator.cli.console import plain_console
    from orchestrator.display.scaling import WIDTH, sentences, shown
    from orchestrator.runs.report.scaling import render_curve
    from orchestrator.trained.new_output import write_output

    if not quiet:
        console = plain_console(WIDTH)
        for part in shown(curve):
            console.print(part)
    if output is not None:
        write_output(output, render_curve(curve, sentences(curve)))
        echo(f"wrote {output}", err=True)
