"""Values that a shell offers for arguments and options when the user presses Tab."""

from collections.abc import Callable

import click

from orchestrator.runs import DEFAULT_STORAGE, LAST, is_run_id

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def run_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names in the storage that can be a run's, and `@last`. No folder is opened.

    If the storage cannot be read, return `@last` only: a shell that waits for completions cannot
    show an error.
    """
    from workers.errors import JobError
    from workers.storage.storage import Storage

    try:
        names = Storage(context.params.get("storage") or DEFAULT_STORAGE).list()
    except JobError:
        names = []
    ids = filter(is_run_id, names)  # a shell shows other names as they are, escapes included
    return [name for name in (*ids, LAST) if name.startswith(incomplete)]


def datasets(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from orchestrator.datasets.sources import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]


def presets(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    from orchestrator.spec.presets import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


def one_of(*values: str) -> Completer:
    """Return a completer for an option whose values are checked later, with the whole spec."""
    return lambda _, __, incomplete: [value for value in values if value.startswith(incomplete)]
