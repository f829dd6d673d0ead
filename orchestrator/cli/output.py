"""What commands print: text that cannot drive a terminal, JSON documents, single lines.

All modules of the command line print through here, tables through `cli.console`. Text may come from
a storage or a cluster, that is from a stranger.
"""

import os
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Any

import click

from orchestrator.display.text import printable as printable


@dataclass(frozen=True)
class Styled:
    """Text that `echo` prints in a colour or in bold type where the output is a terminal."""

    text: str
    colour: str | None = None
    bold: bool | None = None


def echo(
    *parts: str | Styled, err: bool = False, nl: bool = True, file: IO[Any] | None = None
) -> None:
    """Print text on stdout or stderr. Its colours are those of `Styled` parts and no others.

    `file`: instead of them.
    """
    click.echo("".join(map(_rendered, parts)), file, err=err, nl=nl, color=colours())


def _rendered(part: str | Styled) -> str:
    if isinstance(part, Styled):
        return click.style(printable(part.text), fg=part.colour, bold=part.bold)
    return printable(part)


def confirm(question: str) -> None:
    """Ask on stderr. Raises click.Abort unless the answer is yes."""
    click.confirm(printable(question), abort=True, err=True)


def colours() -> bool | None:
    """Return False if NO_COLOR is set, else None: then click uses colours on a terminal only."""
    return False if os.environ.get("NO_COLOR") else None


def print_json(content: Any) -> None:
    # JSON's own escapes leave out only DEL.
    import json

    click.echo(json.dumps(content, indent=2).replace("\x7f", "\\u007f"))


def print_json_lines(lines: bytes, file: IO[Any]) -> None:
    """Print JSON documents, one on each line, whose text is escaped already."""
    click.echo(lines, file, nl=False)


def print_logs_and_tracebacks() -> None:
    """Print on stderr the warnings of this process, and the traceback of an error that ends it."""
    import logging  # here, since `rnnjob --help` needs none of it

    class PrintableFormatter(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return printable(super().format(record))

    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter())
    logging.basicConfig(handlers=[handler])
    sys.excepthook = _print_traceback


def _print_traceback(
    kind: type[BaseException], error: BaseException, where: TracebackType | None
) -> None:
    import traceback

    echo("".join(traceback.format_exception(kind, error, where)), err=True, nl=False)


def one_line(text: str) -> str:
    return " ".join(text.split())


def age(then: float | None) -> str:
    """Return how long ago a Unix time was; `-` if there is none."""
    from orchestrator.units import show_duration

    return show_duration(max(0.0, time.time() - then)) if then else "-"
