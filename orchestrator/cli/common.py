"""What commands share: errors to exit codes, output, the storage option."""

import functools
import json
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import click

from orchestrator.cli.colours import colours
from orchestrator.runs import DEFAULT_STORAGE
from workers.errors import JobError
from workers.storage import Storage

P = ParamSpec("P")
R = TypeVar("R")
_TERMINATING = (signal.SIGTERM, signal.SIGHUP)


class Failure(click.ClickException):
    """A JobError on its way out: one line of cause, one of cure, its exit code."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.cause)
        self.exit_code = error.exit_code  # type: ignore[misc]  # click reads it off the instance
        self.cure = error.cure

    def show(self, file: Any = None) -> None:
        cause, cure = click.style("Error:", fg="red"), click.style("Try:", fg="cyan")
        click.echo(f"{cause} {one_line(self.message)}", err=True, color=colours())
        if self.cure:
            click.echo(f"{cure} {one_line(self.cure)}", err=True, color=colours())


def one_line(text: str) -> str:
    return " ".join(text.split())


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Turns a JobError into a Failure: the one place where that is done."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except JobError as error:
            if kwargs.get("verbose"):
                traceback.print_exc()
            raise Failure(error) from error

    return wrapper


def storage_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--storage",
        envvar="RNNJOB_STORAGE",
        metavar="URI",
        help="Where run folders are: a path, or a URI that pyarrow opens.  [env: RNNJOB_STORAGE; "
        f"default: {DEFAULT_STORAGE}]",
    )(function)


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, all else on stderr."
    )(function)


def open_storage(storage: str | None) -> Storage:
    return Storage(storage or DEFAULT_STORAGE)


def print_json(content: Any) -> None:
    click.echo(json.dumps(content, indent=2))


@contextmanager
def terminated_as(error: type[BaseException]) -> Iterator[None]:
    """Within it, SIGTERM and a closed terminal (SIGHUP) raise like Ctrl-C does."""

    def handler(*_: Any) -> None:
        raise error

    before = {number: signal.signal(number, handler) for number in _TERMINATING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
