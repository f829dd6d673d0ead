"""Flags and helpers for commands about one run: its name, its storage, its state in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from orchestrator.cli.options.completion_values import run_ids
from orchestrator.cli.output import echo, one_line
from orchestrator.runs import DEFAULT_STORAGE
from workers.errors import ClusterError, InputError
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.runs import RunStatus

P = ParamSpec("P")
R = TypeVar("R")


def storage_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add --storage."""
    return click.option(
        "--storage",
        envvar="RNNJOB_STORAGE",
        metavar="URI",
        help="Storage of the run folders: a path, or a URI that pyarrow can open.  "
        f"[env: RNNJOB_STORAGE; default: {DEFAULT_STORAGE}]",
    )(function)


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add --json."""
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON document on stdout, and everything else on stderr.",
    )(function)


def test_rows_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add --data-dir, for commands that read the test rows of a run."""
    return click.option(
        "--data-dir",
        envvar="RNNJOB_DATA_DIR",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Folder with the idx files of the test rows.  [env: RNNJOB_DATA_DIR]",
    )(function)


def trust_code_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add --trust-code."""
    return click.option(
        "--trust-code",
        is_flag=True,
        help="Run the code of the run's own model, although you did not submit it. Read it before.",
    )(function)


def verbose_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add -v, --verbose of a command that runs a job."""
    return click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Print Ray's own output, and the tracebacks of errors.",
    )(function)


def open_storage(storage: str | None) -> Storage:
    """Open the storage of --storage. Raises InputError or StorageError."""
    return Storage(storage or DEFAULT_STORAGE)


def run_argument(function: Callable[P, R]) -> Callable[P, R]:
    """Add the argument RUN, which a shell can complete."""
    return click.argument("run_name", metavar="RUN", shell_complete=run_ids)(function)


def trained_run_argument(function: Callable[P, R]) -> Callable[P, R]:
    """Add the argument RUN, where RUN:best and RUN:STEP name a checkpoint."""
    return click.argument("run_name", metavar="RUN[:CHECKPOINT]", shell_complete=run_ids)(function)


def run_address_option(function: Callable[P, R]) -> Callable[P, R]:
    """Add --address of a command about a run that exists."""
    return click.option(
        "--address",
        metavar="URL",
        help="The run's cluster. It is needed once if neither you nor the environment has named "
        "that cluster before: else it is not asked, and gets no token.",
    )(function)


def run_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add RUN, --storage, --address and --json."""
    return run_argument(storage_option(run_address_option(json_option(function))))


def note_unknown_cluster(client: "Client", run_name: str) -> None:
    """Say on stderr why the run's cluster will not be asked, if only the user can change that."""
    try:
        client.check_cluster_of(run_name)
    except (ClusterError, InputError) as error:
        echo(f"note: {one_line(error.cause)}; {one_line(error.cure)}", err=True)


def status_line(status: "RunStatus") -> str:
    """Return one line with the run's id, state, reason, attempt, workers and age."""
    from orchestrator.cli.output import age

    parts = [f"{status.run_id}  {status.state}"]
    if status.reason:
        parts[0] += f": {one_line(status.reason)}"
    if status.attempt:
        parts.append(f"attempt {status.attempt}")
    if status.workers:
        parts.append(f"{status.workers} worker(s)")
    if status.submitted_at:
        parts.append(f"submitted {age(status.submitted_at)} ago")
    return ", ".join(parts)
