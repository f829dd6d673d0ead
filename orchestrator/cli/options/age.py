"""The flag --older-than, and the question before something is removed."""

import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from orchestrator.cli.output import confirm
from workers.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")


def older_than_option(help_text: str, default: str | None = None) -> Callable[..., Callable[P, R]]:
    """Add --older-than."""
    return click.option("--older-than", default=default, metavar="AGE", help=help_text)


def seconds_of(older_than: str) -> float:
    """Return the seconds of --older-than. Raises InputError."""
    from orchestrator.units import parse_duration

    try:
        return parse_duration(older_than)
    except ValueError as error:
        raise InputError(f"--older-than: {error}", "for example --older-than 30d") from error


def confirm_removal(what: str, same_with_yes: str) -> None:
    """Ask whether something is to be removed. Raises click.Abort if it is not.

    Raises InputError if there is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise InputError(
            f"{what}: not removed, because there is no terminal to ask on", same_with_yes
        )
    confirm(f"remove {what}?")
