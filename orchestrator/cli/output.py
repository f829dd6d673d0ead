"""What commands print on stdout: JSON documents, single lines, tables."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
"""Options of a rich Console that shows reasons and paths as they are: a bracket is no markup."""


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2))


def one_line(text: str) -> str:
    return " ".join(text.split())


def age(then: float | None) -> str:
    """Return how long ago a Unix time was; `-` if there is none."""
    from orchestrator.units import show_duration

    return show_duration(max(0.0, time.time() - then)) if then else "-"


def plain_console() -> "Console":
    """Return a console for tables on stdout. Without a terminal it is as wide as they need."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, **PLAIN)
