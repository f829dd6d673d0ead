"""The console on which commands print tables."""

import sys

from rich.console import Console

from orchestrator.display.console import PrintableConsole


def plain_console() -> Console:
    """Return a console for tables on stdout. Without a terminal it is as wide as they need."""
    return PrintableConsole(file=sys.stdout, width=None if sys.stdout.isatty() else 200)
