"""The console on which commands print tables."""

import sys

from rich.console import Console

from orchestrator.display.console import PrintableConsole


def plain_console(width: int = 200) -> Console:
    """Return a console for tables on stdout.

    `width`: in columns, if stdout is no terminal; by default as wide as tables need.
    """
    return PrintableConsole(file=sys.stdout, width=None if sys.stdout.isatty() else width)
