"""The tree of error classes."""

import inspect
import pickle
import re

import pytest

import workers.errors
from orchestrator.spec.tree import SpecError
from workers.errors import JobError, JobStoppedError

CLASSES = [
    cls
    for cls in vars(workers.errors).values()
    if inspect.isclass(cls) and issubclass(cls, JobError)
]
LINE = re.compile(r"^    ([│├└─ ]*)(\w+Error) +(?:exit (\d+))?")


def tree_in_the_docstring() -> dict[str, tuple[str | None, int]]:
    """Return base and exit code by class. A line without an exit code has that of its base."""
    tree: dict[str, tuple[str | None, int]] = {}
    ancestors: list[str] = []
    for line in (workers.errors.__doc__ or "").splitlines():
        if match := LINE.match(line):
            depth = len(match.group(1)) // 4
            base = ancestors[depth - 1] if depth else None
            code = int(match.group(3)) if match.group(3) else tree[base or ""][1]
            tree[match.group(2)] = (base, code)
            ancestors[depth:] = [match.group(2)]
    return tree


def test_the_tree_in_the_docstring_is_that_of_the_code() -> None:
    code = {
        cls.__name__: (None if cls is JobError else cls.__bases__[0].__name__, cls.exit_code)
        for cls in CLASSES
    }
    assert tree_in_the_docstring() == code
    assert len(code) == 26


@pytest.mark.parametrize("cls", [*CLASSES, SpecError])
def test_an_error_can_be_sent_between_processes(cls: type[JobError]) -> None:
    error = cls("the cause", "the cure")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(again) is cls
    assert (again.cause, again.cure) == ("the cause", "the cure")
    assert again.exit_code == error.exit_code
    assert str(again) == "the cause\nthe cure"


def test_the_exit_code_of_a_stopped_job_can_be_sent_between_processes() -> None:
    error = pickle.loads(pickle.dumps(JobStoppedError("time", "go on", 124)))  # noqa: S301
    assert error.exit_code == 124
    assert JobStoppedError("by hand").exit_code == 5
    assert JobStoppedError.exit_code == 5


def test_an_error_without_cure_is_one_line() -> None:
    assert str(JobError("the cause")) == "the cause"


def test_a_spec_error_is_a_value_error_too() -> None:
    assert issubclass(SpecError, ValueError)
    assert SpecError.exit_code == 2
