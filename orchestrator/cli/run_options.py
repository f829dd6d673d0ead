"""What the commands about one run share: its name, where it is, how its state is told."""

from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from orchestrator.cli.cluster_options import headers_from
from orchestrator.cli.common import json_option, one_line, storage_option
from orchestrator.cli.completing import run_ids

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.runs import RunStatus

P = ParamSpec("P")
R = TypeVar("R")


def run_argument(function: Callable[P, R]) -> Callable[P, R]:
    """Adds RUN, which a shell can complete."""
    return click.argument("run_name", metavar="RUN", shell_complete=run_ids)(function)


def run_options(function: Callable[P, R]) -> Callable[P, R]:
    """Adds RUN, --storage and --json."""
    return run_argument(storage_option(json_option(function)))


def client_for(storage: str | None, headers: str | None = None, verify: bool = True) -> "Client":
    """For --storage, --headers and --verify as they were given. Raises InputError, StorageError."""
    from orchestrator.client import Client
    from orchestrator.runs import DEFAULT_STORAGE

    return Client(storage or DEFAULT_STORAGE, verify=verify, headers=headers_from(headers))


def status_line(status: "RunStatus") -> str:
    """Id, state with its reason, attempt, workers, age."""
    from orchestrator.cli.view import age

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
