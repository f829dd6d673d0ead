"""The command `rnnjob prune`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.age import confirm_removal, older_than_option, seconds_of
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, storage_option
from orchestrator.cli.output import echo, print_json

if TYPE_CHECKING:
    from orchestrator.upkeep.unneeded import Unneeded

_DEFAULT_AGE = "1d"


@click.command("prune", epilog=example("rnnjob prune --dry-run"))
@storage_option
@request_options
@older_than_option(
    f"Remove only what nothing has used for so long.  [default: {_DEFAULT_AGE}]", _DEFAULT_AGE
)
@click.option("--dry-run", is_flag=True, help="List what would be removed, and remove nothing.")
@click.option("-y", "--yes", is_flag=True, help="Remove without asking.")
@json_option
@explained
def prune_command(
    storage: str | None,
    requests: RequestFlags,
    older_than: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove what nothing needs any more, and say how much room that frees.

    \b
    data sets     copies in the storage that no run names; cut data sets in your
                  cache that no job has used lately (a job cuts them again)
    checkpoints   of ended runs, all but the newest whole one, with which
                  `resume`, RUN:best and the final model work as before
    logs          of runs that have SUCCEEDED
    leftovers     of killed processes: temporary files, parts of evaluations and
                  predictions, private folders of a Ray on this machine

    A run that goes on is left alone, and so is what any run refers to. Whole runs are
    removed with `rnnjob delete`.
    """
    from orchestrator.units import show_bytes
    from orchestrator.upkeep.find import find_unneeded

    client = requests.client(storage, None)
    place = client.storage
    found = find_unneeded(place, client.list_runs(), seconds_of(older_than))
    size = show_bytes(sum(item.num_bytes for item in found))
    if dry_run and not as_json:
        for item in found:
            echo(f"{item.kind:<11}{show_bytes(item.num_bytes):>11}  {item.where}: {item.why}")
    if found and not dry_run and not yes:
        flags = f"--older-than {older_than} --storage {place.uri}"
        confirm_removal(f"{_counted(found)}: {size}", f"rnnjob prune {flags} --dry-run, or --yes")
    removed = found if dry_run else [item for item in found if item.remove()]
    if as_json:
        print_json(_document(removed, dry_run))
    elif not removed:
        echo(f"nothing to remove in {place.where()}, in the cache and of dead processes", err=True)
    else:
        size = show_bytes(sum(item.num_bytes for item in removed))
        verb = "would remove" if dry_run else "removed"
        echo(f"{verb} {_counted(removed)}: {size}", err=True)


def _counted(items: "Sequence[Unneeded]") -> str:
    from orchestrator.upkeep.unneeded import KINDS

    counts = {kind: sum(item.kind == kind for item in items) for kind in KINDS}
    names = {"logs": "folder(s) of logs"}
    return ", ".join(f"{n} {names.get(kind, f'{kind}(s)')}" for kind, n in counts.items() if n)


def _document(items: "Sequence[Unneeded]", dry_run: bool) -> dict[str, object]:
    return {
        "schema_version": 1,
        "dry_run": dry_run,
        "num_bytes": sum(item.num_bytes for item in items),
        "removed": [
            {
                "kind": item.kind,
                "where": item.where,
                "why": item.why,
                "num_bytes": item.num_bytes,
            }
            for item in items
        ],
    }
