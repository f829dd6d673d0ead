"""rnnjob status"""

import click

from orchestrator.cli.cluster_options import request_options
from orchestrator.cli.common import explained, print_json
from orchestrator.cli.run_options import client_for, run_options, status_line


@click.command("status")
@run_options
@request_options
@explained
def status_command(
    run_name: str, storage: str | None, headers: str | None, verify: bool, as_json: bool
) -> None:
    """Tell the state of a run in one line. RUN: an id, a unique prefix, or @last.

    Exit 0 whatever the state: rnnjob wait leaves with the job's own exit code.
    """
    status = client_for(storage, headers, verify).status(run_name)
    if as_json:
        print_json(status.to_json())
    else:
        click.echo(status_line(status))
