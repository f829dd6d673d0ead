"""How errors and signals end a command. Only here a JobError becomes two lines and an exit code."""

import functools
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import click

from orchestrator.cli.output import Styled, echo, one_line
from workers.errors import JobError

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
        echo(Styled("Error:", "red"), f" {one_line(self.message)}", err=True)
        if self.cure:
            echo(Styled("Try:", "cyan"), f" {one_line(self.cure)}", err=True)


def explained(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that a JobError becomes a Failure. With --verbose its traceback is
    printed, too."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except JobError as error:
            if kwargs.get("verbose"):
                echo(traceback.format_exc(), err=True, nl=False)
            raise Failure(error) from error

    return wrapper


@contextmanager
def terminated_as(error: type[BaseException]) -> Iterator[None]:
    """Within this context, SIGTERM and a closed terminal (SIGHUP) raise `error`."""

    def handler(*_: Any) -> None:
        raise error

    before = {number: signal.signal(number, handler) for number in _TERMINATING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
