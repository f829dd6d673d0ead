"""The command `rnnjob logs`."""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import note_unknown_cluster, run_options
from orchestrator.cli.output import echo, print_json
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.runs.logs import LogLine

_DRIVER = "driver"


@click.command("logs", epilog=example("rnnjob logs @last --tail 20"))
@run_options
@request_options
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines until the run ends.")
@click.option(
    "--tail", type=click.IntRange(min=0), metavar="N", help="Print only the last N lines."
)
@click.option(
    "--rank",
    metavar="R|driver",
    help="Print only the lines of the worker with this rank, or of the driver.",
)
@click.option(
    "--grep", metavar="REGEX", help="Print only the lines that match this regular expression."
)
@explained
def logs_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
    follow: bool,
    tail: int | None,
    rank: str | None,
    grep: str | None,
) -> None:
    """Print what the driver and all workers of a run logged, oldest first.

    RUN: an id, a unique prefix, or @last. The logs are read from the run folder, so the cluster
    need not exist any more.
    """
    if as_json and follow:
        raise InputError(
            "--json prints one document, but --follow goes on without an end",
            "leave one of the two out",
        )
    keep = _filter(rank, grep)
    client = requests.client(storage, address)
    run_id = client.get_run(run_name).run_id
    if follow:
        note_unknown_cluster(client, run_id)
    lines = client.logs(run_id, keep, follow, tail)
    if as_json:
        content = [{"source": line.source, "time": line.time, "text": line.text} for line in lines]
        print_json({"schema_version": 1, "run_id": run_id, "lines": content})
        return
    if _print(lines) == 0:
        status = client.status(run_id)
        found = "no line matches" if rank or grep else "nothing was logged"
        hint = (
            "; a job that runs with --local logs to its own terminal"
            if status.mode == "local"
            else ""
        )
        echo(f"{run_id} is {status.state}: {found}{hint}", err=True)


def _print(lines: "Iterator[LogLine]") -> int:
    """Print the lines and return their number."""
    count = 0
    for line in lines:
        echo(str(line))
        count += 1
    return count


def _filter(rank: str | None, grep: str | None) -> "Callable[[LogLine], bool]":
    """Return a function that says whether to print a line. Raises InputError if a value is
    invalid."""
    source = _source(rank)
    try:
        pattern = re.compile(grep or "")
    except re.error as error:
        raise InputError(
            f"--grep '{grep}' is not a regular expression: {error}",
            "escape special characters, for example '\\(' for '('",
        ) from error
    return lambda line: source in ("", line.source) and pattern.search(line.text) is not None


def _source(rank: str | None) -> str:
    """Return the `source` of the lines to print; empty for all lines."""
    if rank is None:
        return ""
    if rank == _DRIVER:
        return _DRIVER
    if not (rank.isascii() and rank.isdigit()):
        raise InputError(f"--rank '{rank}' is not a rank", "use 0, 1, ... for a worker, or driver")
    return f"worker-{int(rank)}"
