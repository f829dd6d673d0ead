"""The command `rnnjob stop`."""

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import run_options
from orchestrator.cli.output import echo, print_json


@click.command("stop", epilog=example("rnnjob stop @last"))
@run_options
@request_options
@click.option(
    "--force",
    is_flag=True,
    help="End a job on a cluster at once, without a checkpoint. If the cluster does not answer, "
    "give the run up: record it as stopped.",
)
@click.option(
    "-y", "--yes", is_flag=True, hidden=True, help="Accepted for scripts; this command never asks."
)
@explained
def stop_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
    force: bool,
    yes: bool,
) -> None:
    """Ask a running job to write a checkpoint and stop after its current step. One that waits for
    its workers ends before it begins.

    RUN: an id, a unique prefix, or @last. The command returns at once; rnnjob wait waits for the
    end.
    """
    from orchestrator.runs import next_command

    client = requests.client(storage, address)
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
        echo(f"{run.run_id} {status.state}: {status.reason}", err=True)
    else:
        # A job that never had workers has neither a step nor a checkpoint.
        how = "after its current step, with a checkpoint" if status.attempt else "before it begins"
        echo(f"{run.run_id} will stop {how}: {next_command(run, 'wait')}", err=True)
