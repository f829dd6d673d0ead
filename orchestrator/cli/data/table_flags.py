"""The flags of the commands about data that say how tables are read, as `submit` has them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

from orchestrator.cli.options.completion_values import one_of
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.datasets.options import TableOptions

P = ParamSpec("P")
R = TypeVar("R")
_TASKS = ("auto", "classification", "regression")
_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "--inputs",
        metavar="COLUMN[,COLUMN...]",
        help="Column with the sequences, or columns with one feature each.  "
        "[default: the only one that can be it]",
    ),
    click.option(
        "--target",
        metavar="COLUMN",
        help="Column to predict.  [default: the only one that can be it]",
    ),
    click.option(
        "--task",
        metavar="|".join(_TASKS),
        shell_complete=one_of(*_TASKS),
        help="Whether the target is a class or a number.  [default: auto, by its type]",
    ),
    click.option(
        "--validation", metavar="URI", help="Tables with the validation rows, if they are separate."
    ),
    click.option("--test", metavar="URI", help="Tables with the test rows, if they are separate."),
    click.option(
        "--tokens", is_flag=True, help="Take lists of integers as tokens, and not as numbers."
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="dataset.KEY=VALUE",
        help="Any other key of a table, such as dataset.group=COLUMN. Repeatable.",
    ),
]


def table_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add the flags."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def table_options_from(
    assignments: tuple[str, ...], flags: dict[str, str | None]
) -> "TableOptions":
    """Return the keys of a table. Flags win over --set. Raises SpecError or InputError."""
    from orchestrator.datasets.options import TableOptions
    from orchestrator.spec.tree import parse_assignment, set_key
    from orchestrator.spec.validation import validated

    tree: dict[str, Any] = {}
    for assignment in assignments:
        key, value = parse_assignment(assignment)
        section, _, name = key.partition(".")
        if section != "dataset" or not name:
            raise InputError(f"--set {key} is no key of a table", "name a key dataset.KEY")
        set_key(tree, name, value)
    tree |= {key: value for key, value in flags.items() if value is not None}
    return validated(TableOptions, tree, {})
