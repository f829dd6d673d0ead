"""The command `rnnjob delete`."""

import sys

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import request_options
from orchestrator.cli.options.run import client_for, run_options
from orchestrator.cli.output import confirm, echo, print_json
from workers.errors import InputError


@click.command("delete")
@run_options
@request_options
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@explained
def delete_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    headers: str | None,
    verify: bool,
    as_json: bool,
    yes: bool,
) -> None:
    """Delete a run that has ended: its folder, and the record of the job on its cluster.

    RUN: an id, a unique prefix, or @last. The command says what it removes, and asks first.
    """
    from orchestrator.runs import next_command
    from orchestrator.units import show_bytes

    client = client_for(storage, address, headers, verify)
    run = client.get_run(run_name)
    client.check_deletable(run.run_id)
    num_files, num_bytes = run.storage.usage()
    description = f"{run.storage.where()}: {num_files} files, {show_bytes(num_bytes)}"
    if not yes:
        if not sys.stdin.isatty():
            raise InputError(
                f"{description}: not removed, because there is no terminal to ask on",
                next_command(run, "delete", "--yes"),
            )
        confirm(f"remove {description}?")
    client.delete(run.run_id)
    if as_json:
        print_json(
            {
                "schema_version": 1,
                "run_id": run.run_id,
                "run_folder": run.storage.where(),
                "num_files": num_files,
                "num_bytes": num_bytes,
            }
        )
    else:
        echo(f"removed {description}", err=True)
