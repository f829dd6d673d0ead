"""The command `rnnjob list`."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from orchestrator import runs
from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, storage_option
from orchestrator.cli.output import Styled, echo, one_line, print_json
from orchestrator.runs.metrics import metrics_of, show_metric
from orchestrator.runs.result import read_result
from workers.errors import InputError, NoSuchRunError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from rich.console import RenderableType

    from orchestrator.client import Client
    from orchestrator.runs import RunStatus
    from orchestrator.upkeep.disk import DiskUsage

_DEFAULT_LAST = 20
_REDRAW_S = 2.0
_DECIDED = (runs.LOST, runs.UNREACHABLE)
Row = dict[str, Any]


@click.command("list", epilog=example("rnnjob list --state SUCCEEDED --last 5"))
@storage_option
@request_options
@click.option(
    "-a",
    "--all",
    "show_all",
    is_flag=True,
    help=f"List all runs, not only the last {_DEFAULT_LAST}.",
)
@click.option(
    "-n", "--last", type=click.IntRange(min=1), help="List only this number of the newest runs."
)
@click.option(
    "--state",
    type=click.Choice(runs.STATES, case_sensitive=False),
    metavar="STATE",
    help=f"List only runs in this state: {', '.join(runs.STATES)}.",
)
@click.option("-w", "--watch", is_flag=True, help="Redraw the list every 2 s, until Ctrl-C.")
@click.option(
    "--disk",
    is_flag=True,
    help="Show the bytes of each run, and of all that the storage holds: cut data sets (.data), "
    "code of exported jobs (.code), parts of evaluations (.parts).",
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the ids of the runs.")
@explained
def list_command(
    storage: str | None,
    requests: RequestFlags,
    show_all: bool,
    last: int | None,
    state: str | None,
    watch: bool,
    disk: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """List the runs of a storage, newest first.

    The clusters that you have named before are asked how their runs are, and have two seconds
    together to answer.
    """
    client = requests.client(storage, None)
    most = None if show_all else last or _DEFAULT_LAST
    if watch:
        _check_watch(as_json, quiet)
        _watch(lambda: _renderable(client.storage, *_find(client, state, most)))
        return
    shown, num_older = _find(client, state, most, _say_left_out)
    usage = _usage(client.storage) if disk else None
    if quiet:
        for status in shown:
            echo(status.run_id)
    elif as_json:
        print_json(_document(_rows(client.storage, shown, usage), usage))
    else:
        _print(client.storage, shown, num_older, usage)


def _say_left_out(error: NoSuchRunError) -> None:
    echo(f"not listed: {error.cause}", err=True)


def _find(
    client: "Client",
    state: str | None,
    most: int | None,
    left_out: Callable[[NoSuchRunError], None] = lambda error: None,
) -> tuple[list["RunStatus"], int]:
    """Return the runs to show, and the number of older runs that are left out."""
    found = [s for s in client.list_runs(left_out) if state in (None, s.state)]
    shown = found[:most]
    return shown, len(found) - len(shown)


def _usage(place: Storage) -> "DiskUsage":
    from orchestrator.upkeep.disk import disk_usage

    return disk_usage(place, [status.run_id for status in runs.list_runs(place)])


def _document(rows: list[Row], usage: "DiskUsage | None") -> dict[str, Any]:
    if usage is None:
        return {"schema_version": 1, "runs": rows}
    disk = {
        "num_runs": len(usage.runs),
        "run_bytes": sum(usage.runs.values()),
        "data_bytes": usage.data,
        "code_bytes": usage.code,
        "parts_bytes": usage.parts,
        "num_bytes": usage.total,
    }
    return {"schema_version": 1, "runs": rows, "disk": disk}


def _rows(place: Storage, shown: list["RunStatus"], usage: "DiskUsage | None" = None) -> list[Row]:
    sizes = usage.runs if usage else {}
    return [
        {
            **_row(RunFolder(place.child(status.run_id)), status),
            **({"num_bytes": sizes[status.run_id]} if status.run_id in sizes else {}),
        }
        for status in shown
    ]


def _row(run: RunFolder, status: "RunStatus") -> Row:
    result = (read_result(run) or {}) if status.is_terminal else {}
    return {
        **status.to_json(),
        "test_accuracy": result.get("test_accuracy"),
        **{f"test_{name}": value for name, value in metrics_of(result, "test_").items()},
        "epochs": result.get("epochs"),
        "weights_sha256": result.get("weights_sha256"),
    }


def _print(
    place: Storage, shown: list["RunStatus"], num_older: int, usage: "DiskUsage | None"
) -> None:
    from orchestrator.cli.console import plain_console

    if shown:
        header, *lines = _table(_rows(place, shown, usage), plain_console().width)
        echo(Styled(header, bold=True))
        echo("\n".join(lines))
    else:
        echo(_no_runs(place), err=True)
    for line in [*_notes(shown), *_older_runs(num_older)]:
        echo(line, err=True)
    if usage:
        echo(_described(usage))


def _described(usage: "DiskUsage") -> str:
    from orchestrator.units import show_bytes

    parts = [
        f"{len(usage.runs)} run(s): {show_bytes(sum(usage.runs.values()))}",
        f"cut data sets (.data): {show_bytes(usage.data)}",
        f"code of exported jobs (.code): {show_bytes(usage.code)}",
        f"parts of evaluations (.parts): {show_bytes(usage.parts)}",
        f"in all: {show_bytes(usage.total)}",
    ]
    return ", ".join(parts) + "; see what nothing needs: rnnjob prune --dry-run"


def _check_watch(as_json: bool, quiet: bool) -> None:
    from orchestrator.cli.console import plain_console

    if as_json or quiet:
        other = "--json" if as_json else "-q"
        raise InputError(
            f"--watch redraws the list for a person, and {other} prints once for a program",
            "leave one of the two out",
        )
    if not sys.stdout.isatty() or plain_console().is_dumb_terminal:
        raise InputError(
            "--watch redraws a terminal, but stdout is not a terminal that can be redrawn",
            "leave out --watch, or wait for one run: rnnjob wait RUN",
        )


def _watch(draw: "Callable[[], RenderableType]") -> None:
    """Redraw the list until Ctrl-C, which is the only way to end it."""
    from rich.live import Live

    from orchestrator.cli.console import plain_console

    try:
        with Live(draw(), console=plain_console(), auto_refresh=False) as live:
            while True:
                time.sleep(_REDRAW_S)
                live.update(draw(), refresh=True)
    except KeyboardInterrupt:
        return


def _renderable(place: Storage, shown: list["RunStatus"], num_older: int) -> "RenderableType":
    from rich.console import Group
    from rich.styled import Styled as InStyle

    from orchestrator.cli.console import plain_console

    if not shown:
        return _no_runs(place)
    header, *lines = _table(_rows(place, shown), plain_console().width)
    return Group(InStyle(header, "bold"), *lines, *_notes(shown), *_older_runs(num_older))


def _no_runs(place: Storage) -> str:
    return f"no runs in {place.where()}"


def _older_runs(num: int) -> list[str]:
    return [f"{num} older runs are not listed; see them with --all"] if num else []


def _notes(shown: list["RunStatus"]) -> list[str]:
    """Return what has to be said of runs that nobody runs or sees, or that stand still."""
    noted = (s for s in shown if s.state in _DECIDED or s.stalled_since is not None)
    return [f"{s.run_id}: {one_line(s.reason)}" for s in noted]


def _table(rows: list[Row], width: int) -> list[str]:
    """Return the header and a line for each run. Columns that do not fit into the width are left
    out. Not made with rich, which takes a millisecond for each line."""
    columns = _columns(rows)
    for name, other in (("TEST MAE", "TEST ACC."), ("TEST ACC.", "TEST MAE")):
        # Most people have runs with one of the two.
        if other in columns and not set(columns[name]) - {"-"}:
            del columns[name]
    widths = {name: max(len(name), *map(len, cells)) + 2 for name, cells in columns.items()}
    for name in ("MODE", "WORKERS", "WEIGHTS", "EPOCHS", "AGE"):
        # Drop a whole column, since an id that is cut off cannot be copied.
        if sum(widths[shown] for shown in columns) > width:
            del columns[name]
    padded = [
        [f"{cell:<{widths[name]}}" for cell in (name, *cells)] for name, cells in columns.items()
    ]
    return ["".join(cells).rstrip() for cells in zip(*padded, strict=True)]


def _columns(rows: list[Row]) -> dict[str, list[str]]:
    from orchestrator.cli.output import age
    from orchestrator.units import show_bytes

    has_sizes = any("num_bytes" in row for row in rows)
    sizes = [show_bytes(row.get("num_bytes", 0)) for row in rows]
    return {
        "RUN": [row["run_id"] for row in rows],
        "STATE": [row["state"] for row in rows],
        "MODE": [row["mode"] for row in rows],
        "WORKERS": [str(row["workers"] or "-") for row in rows],
        "EPOCHS": [str(row["epochs"] or "-") for row in rows],
        "TEST ACC.": [show_metric("accuracy", row["test_accuracy"]) for row in rows],
        "TEST MAE": [show_metric("mae", row.get("test_mae")) for row in rows],
        "WEIGHTS": [(row["weights_sha256"] or "-")[:12] for row in rows],
        "AGE": [age(row["submitted_at"]) for row in rows],
        **({"SIZE": sizes} if has_sizes else {}),
    }
