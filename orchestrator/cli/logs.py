"""rnnjob logs"""

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from orchestrator.cli.cluster_options import request_options
from orchestrator.cli.common import explained, print_json
from orchestrator.cli.run_options import client_for, run_options
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.logs import LogLine

_DRIVER = "driver"


@click.command("logs")
@run_options
@request_options
@click.option("-f", "--follow", is_flag=True, help="Go on until the run ends.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--rank", metavar="R|driver", help="Only those of one worker, or of the driver.")
@click.option("--grep", metavar="REGEX", help="Only lines in which this is found.")
@explained
def logs_command(
    run_name: str,
    storage: str | None,
    headers: str | None,
    verify: bool,
    as_json: bool,
    follow: bool,
    tail: int | None,
    rank: str | None,
    grep: str | None,
) -> None:
    """Print what the driver and all workers of a run logged, oldest first.

    From the run folder: it needs no cluster, and outlives it. RUN: an id, a unique prefix, or
    @last.
    """
    if as_json and follow:
        raise InputError(
            "--json is one document and --follow has no end", "leave one of the two out"
        )
    keep = _filter(rank, grep)
    client = client_for(storage, headers, verify)
    run_id = client.get_run(run_name).run_id
    lines = client.logs(run_id, keep, follow, tail)
    if as_json:
        content = [{"source": o.source, "time": o.time, "text": o.text} for o in lines]
        print_json({"schema_version": 1, "run_id": run_id, "lines": content})
        return
    if _print(lines) == 0:
        status = client.status(run_id)
        wanted = "no line fits" if rank or grep else "nothing was logged"
        where = "; a job of --local logs to its own terminal" if status.mode == "local" else ""
        click.echo(f"{run_id} is {status.state}: {wanted}{where}", err=True)


def _print(lines: "Iterator[LogLine]") -> int:
    """How many there were."""
    count = 0
    for line in lines:
        click.echo(str(line))
        count += 1
    return count


def _filter(rank: str | None, grep: str | None) -> "Callable[[LogLine], bool]":
    """Raises InputError for what is no rank or no regular expression."""
    source = _source(rank)
    try:
        pattern = re.compile(grep or "")
    except re.error as error:
        raise InputError(
            f"--grep '{grep}' is no regular expression: {error}",
            "escape what is meant literally, for example '\\(' for '('",
        ) from error
    return lambda line: source in ("", line.source) and pattern.search(line.text) is not None


def _source(rank: str | None) -> str:
    """As the lines name it; empty for all."""
    if rank is None:
        return ""
    if rank == _DRIVER:
        return _DRIVER
    if not (rank.isascii() and rank.isdigit()):
        raise InputError(f"--rank '{rank}' is no rank", "0, 1, ... for a worker, or driver")
    return f"worker-{int(rank)}"
