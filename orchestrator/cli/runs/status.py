"""The command `rnnjob status`."""

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import client_for, note_unknown_cluster, run_options, status_line
from orchestrator.cli.output import echo, print_json


@click.command("status", epilog=example("rnnjob status @last"))
@run_options
@request_options
@explained
def status_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    headers: str | None,
    verify: bool,
    as_json: bool,
) -> None:
    """Print the state of a run in one line.

    RUN: an id, a unique prefix, or @last. The exit code is 0 in every state; rnnjob wait exits with
    the job's own exit code.
    """
    client = client_for(storage, address, headers, verify)
    note_unknown_cluster(client, run_name)
    status = client.status(run_name)
    if as_json:
        print_json(status.to_json())
    else:
        echo(status_line(status))
