"""rnnjob why"""

import click

from orchestrator.cli.cluster_options import request_options
from orchestrator.cli.common import explained, print_json
from orchestrator.cli.run_options import client_for, run_options


@click.command("why")
@run_options
@request_options
@explained
def why_command(
    run_name: str, storage: str | None, headers: str | None, verify: bool, as_json: bool
) -> None:
    """Say why a run does not run, or why it failed: one answer, its evidence, the next command.

    RUN: an id, a unique prefix, or @last. Answers from the run folder where the cluster is gone.
    """
    from orchestrator.facts import gather
    from orchestrator.why import classify

    facts = gather(client_for(storage, headers, verify), run_name)
    answer = classify(facts)
    status = facts.status
    if as_json:
        head = {"schema_version": 1, "run_id": status.run_id, "state": status.state}
        print_json({**head, **answer.to_json()})
        return
    click.echo(f"{status.run_id} is {status.state}: {click.style(answer.category, bold=True)}")
    click.echo(answer.cause)
    for line in answer.evidence:
        click.echo(f"  {line}")
    click.echo(f"Try: {answer.next}")
