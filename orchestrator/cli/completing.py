"""What a shell is offered for the values of arguments and options, when somebody presses Tab."""

from collections.abc import Callable

import click

from orchestrator.runs import DEFAULT_STORAGE, LAST

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def run_ids(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Names of the folders in the storage, none of which is opened; none where it cannot be read:
    a shell that waits for completions is no place for errors."""
    from workers.errors import JobError
    from workers.storage import Storage

    try:
        names = Storage(context.params.get("storage") or DEFAULT_STORAGE).list()
    except JobError:
        names = []
    ids = [name for name in names if not name.startswith(".")]
    return [name for name in (*ids, LAST) if name.startswith(begun)]


def datasets(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    from orchestrator.datasets.sources import NAMES

    return [name for name in NAMES if name.startswith(begun)]


def presets(_: click.Context, __: click.Parameter, begun: str) -> list[str]:
    from orchestrator.presets import PRESETS

    return [name for name in PRESETS if name.startswith(begun)]


def one_of(*values: str) -> Completer:
    """For an option whose values are checked elsewhere, with the whole spec."""
    return lambda _, __, begun: [value for value in values if value.startswith(begun)]
