"""The command `rnnjob why`."""

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import run_options
from orchestrator.cli.output import Styled, echo, print_json


@click.command("why", epilog=example("rnnjob why @last"))
@run_options
@request_options
@explained
def why_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
) -> None:
    """Explain why a run is not running, or why it failed.

    Prints one answer, its evidence and the next command. If the cluster is gone, the answer comes
    from the run folder.

    RUN: an id, a unique prefix, or @last.
    """
    status, answer = requests.client(storage, address).why(run_name)
    if as_json:
        head = {"schema_version": 1, "run_id": status.run_id, "state": status.state}
        print_json({**head, **answer.to_json()})
        return
    echo(f"{status.run_id} is {status.state}: ", Styled(answer.category, bold=True))
    echo(answer.cause)
    for line in answer.evidence:
        echo(f"  {line}")
    echo(f"Try: {answer.next}")
