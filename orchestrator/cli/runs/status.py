"""The command `rnnjob status`."""

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import note_unknown_cluster, run_options, status_line
from orchestrator.cli.output import echo, print_json


@click.command("status", epilog=example("rnnjob status @last"))
@run_options
@request_options
@explained
def status_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
) -> None:
    """Print the state of a run in one line.

    RUN: an id, a unique prefix, or @last. The exit code is 0 in every state; rnnjob wait exits with
    the job's own exit code.
    """
    client = requests.client(storage, address)
    note_unknown_cluster(client, run_name)
    status = client.status(run_name)
    if as_json:
        print_json(status.to_json())
    else:
        echo(status_line(status))
