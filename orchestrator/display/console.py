"""The console for tables and progress. Its text cannot drive a terminal either."""

from typing import Any

from rich.console import Console
from rich.text import Text

from orchestrator.display.text import printable


class PrintableConsole(Console):
    """A rich Console that shows text as it is: a bracket is no markup, an escape no command."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return text as rich prints it. rich calls this for each string, also in a table."""
        return super().render_str(printable(text), **options)
