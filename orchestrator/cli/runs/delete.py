"""The command `rnnjob delete`."""

import shlex
import time
from typing import TYPE_CHECKING, Any

import click

from orchestrator import runs
from orchestrator.cli.errors import explained
from orchestrator.cli.options.age import confirm_removal, older_than_option, seconds_of
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.completion_values import run_ids
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, run_address_option, storage_option
from orchestrator.cli.output import age, echo, print_json
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.client import Client
    from workers.records.run_folder import RunFolder

_STATES = tuple(state for state in runs.STATES if state in runs.TERMINAL)
_SHOWN = 20
"""The most runs that are listed before the question."""


@click.command(
    "delete",
    epilog=example(
        "rnnjob delete @last --yes", "rnnjob delete --older-than 30d --state FAILED --dry-run"
    ),
)
@click.argument("run_names", metavar="RUN...", nargs=-1, shell_complete=run_ids)
@older_than_option("Delete all runs that ended longer ago than this, for example 30d.")
@click.option(
    "--state",
    type=click.Choice(_STATES, case_sensitive=False),
    metavar="STATE",
    help=f"Delete all runs that ended in this state: {', '.join(_STATES)}.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Delete without asking.")
@storage_option
@run_address_option
@json_option
@request_options
@explained
def delete_command(
    run_names: tuple[str, ...],
    older_than: str | None,
    state: str | None,
    dry_run: bool,
    yes: bool,
    storage: str | None,
    address: str | None,
    as_json: bool,
    requests: RequestFlags,
) -> None:
    """Delete runs that have ended: their folders, and the records of the jobs on their cluster.

    RUN: an id, a unique prefix, or @last; or choose the runs with --older-than and --state. The
    command says what it removes, and asks first.
    """
    client = requests.client(storage, address)
    if bool(run_names) == bool(older_than or state):
        raise InputError(
            "the runs are either named, or chosen with --older-than and --state",
            "rnnjob delete RUN, or rnnjob delete --older-than 30d --state FAILED",
        )
    found = _named(client, run_names) if run_names else _chosen(client, older_than, state)
    rows = [_row(run) for run in found]
    description = _described(rows)
    if (dry_run or not yes) and not as_json and len(rows) > 1:
        _print(client, rows)
    if rows and not dry_run and not yes:
        words = ["rnnjob", "delete", *(run_names or _flags(older_than, state)), "--yes"]
        if storage:
            words += ["--storage", storage]
        confirm_removal(description, shlex.join(words))
    if not dry_run:
        client.delete_ended(found)
    if as_json:
        print_json(_document(rows, dry_run))
    elif not rows:
        echo(f"no run of {client.storage.where()} is to be deleted", err=True)
    else:
        echo(f"{'would remove' if dry_run else 'removed'} {description}", err=True)


def _named(client: "Client", names: tuple[str, ...]) -> list["RunFolder"]:
    """Return the runs of these names, each once. Raises InputError if one has not ended."""
    found = {run.run_id: run for run in map(client.get_run, names)}
    for run_id in found:
        client.check_deletable(run_id)
    return list(found.values())


def _chosen(client: "Client", older_than: str | None, state: str | None) -> list["RunFolder"]:
    """Return the ended runs that the flags choose, newest first."""
    before = time.time() - (seconds_of(older_than) if older_than else 0.0)
    return [
        client.get_run(status.run_id)
        for status in client.list_runs()
        if status.is_terminal
        and state in (None, status.state)
        and (status.ended_at or status.submitted_at or 0.0) <= before
    ]


def _row(run: "RunFolder") -> dict[str, Any]:
    num_files, num_bytes = run.storage.usage()
    return {
        "run_id": run.run_id,
        "run_folder": run.storage.where(),
        "num_files": num_files,
        "num_bytes": num_bytes,
    }


def _described(rows: list[dict[str, Any]]) -> str:
    from orchestrator.units import show_bytes

    what = rows[0]["run_folder"] if len(rows) == 1 else f"{len(rows)} runs"
    num_files, num_bytes = (sum(row[key] for row in rows) for key in ("num_files", "num_bytes"))
    return f"{what}: {num_files} files, {show_bytes(num_bytes)}"


def _print(client: "Client", rows: list[dict[str, Any]]) -> None:
    """Print on stderr which runs will go."""
    from orchestrator.units import show_bytes

    for row in rows[:_SHOWN]:
        status = client.status(row["run_id"])
        size, ended = show_bytes(row["num_bytes"]), age(status.ended_at or status.submitted_at)
        echo(f"{row['run_id']}  {status.state}, {size}, ended {ended} ago", err=True)
    if len(rows) > _SHOWN:
        echo(f"and {len(rows) - _SHOWN} more", err=True)


def _document(rows: list[dict[str, Any]], dry_run: bool) -> dict[str, Any]:
    total = {key: sum(row[key] for row in rows) for key in ("num_files", "num_bytes")}
    # One run is described as it was before several could be deleted at once.
    alone = rows[0] if len(rows) == 1 else {}
    return {"schema_version": 1, "dry_run": dry_run, **alone, **total, "runs": rows}


def _flags(older_than: str | None, state: str | None) -> list[str]:
    flags = {"--older-than": older_than, "--state": state}
    return [word for flag, value in flags.items() if value for word in (flag, value)]
