"""The command `rnnjob wait`."""

import sys

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import note_unknown_cluster, run_options
from orchestrator.cli.output import echo, one_line, print_json
from workers.errors import InputError


@click.command("wait", epilog=example("rnnjob wait @last --timeout 10m"))
@run_options
@request_options
@click.option(
    "--timeout",
    metavar="TIME",
    help="Stop waiting after this time, for example 10m, with exit code 124.",
)
@explained
def wait_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
    timeout: str | None,
) -> None:
    """Wait until a run has ended, and exit with its exit code.

    RUN: an id, a unique prefix, or @last. If you interrupt the wait, the job goes on.
    """
    from orchestrator import runs
    from orchestrator.runs.metrics import describe_score
    from orchestrator.runs.result import read_result

    client = requests.client(storage, address)
    run = client.get_run(run_name)
    timeout_s = _seconds(timeout)
    note_unknown_cluster(client, run.run_id)
    status = client.wait(run.run_id, timeout_s)
    result = read_result(run) or {}
    if status.state == runs.SUCCEEDED:
        score = describe_score(result, "test_")
        echo(f"{run.run_id} {status.state}{', test ' if score else ''}{score}", err=as_json)
    else:
        echo(f"Error: {run.run_id} {status.state}: {one_line(status.reason)}", err=True)
        echo(f"Try: {one_line(status.cure or runs.next_command(run, 'why'))}", err=True)
    if as_json:
        print_json(result or status.to_json())
    sys.exit(1 if status.exit_code is None else status.exit_code)


def _seconds(timeout: str | None) -> float | None:
    from orchestrator.units import parse_duration

    try:
        return None if timeout is None else parse_duration(timeout)
    except ValueError as error:
        raise InputError(f"--timeout: {error}", "for example --timeout 10m") from error
