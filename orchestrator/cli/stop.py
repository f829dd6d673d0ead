"""rnnjob stop"""

import click

from orchestrator.cli.cluster_options import request_options
from orchestrator.cli.common import explained, print_json
from orchestrator.cli.run_options import client_for, run_options


@click.command("stop")
@run_options
@request_options
@click.option(
    "--force",
    is_flag=True,
    help="On a cluster: end it at once, without a checkpoint; where the cluster does not answer, "
    "give the run up.",
)
@click.option("-y", "--yes", is_flag=True, hidden=True, help="For scripts; stop never asks.")
@explained
def stop_command(
    run_name: str,
    storage: str | None,
    headers: str | None,
    verify: bool,
    as_json: bool,
    force: bool,
    yes: bool,
) -> None:
    """Ask a running job to stop after its current step, with a checkpoint.

    RUN: an id, a unique prefix, or @last. Returns at once; rnnjob wait waits for the end.
    """
    from orchestrator.runs import next_command

    client = client_for(storage, headers, verify)
    run = client.get_run(run_name)
    status = client.stop(run.run_id, force)
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "run_id": run.run_id,
                "stop_requested": True,
                "state": status.state,
            }
        )
    elif force:
        click.echo(f"{run.run_id} {status.state}: {status.reason}", err=True)
    else:
        click.echo(
            f"{run.run_id} will stop after its current step, with a checkpoint: "
            f"{next_command(run, 'wait')}",
            err=True,
        )
