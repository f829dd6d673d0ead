"""Each command's help ends with examples. They are parsed here, and run in tests/e2e."""

import shlex

import click
import pytest

from orchestrator.cli import main
from tests.unit.cli.test_help import ALL


def examples(command: click.Command) -> list[str]:
    """Return the commands with which a command's help ends."""
    with click.Context(command, info_name="x") as context:
        lines = [line.strip() for line in command.get_help(context).splitlines()]
    start = max(i for i, line in enumerate(lines) if line in ("Example:", "Examples:"))
    return lines[start + 1 :]


@pytest.mark.parametrize("path", ["rnnjob", *ALL])
def test_help_ends_with_examples_that_can_be_parsed(path: str) -> None:
    found = examples(main if path == "rnnjob" else ALL[path])
    assert found and all(line.startswith("rnnjob ") for line in found)
    is_group = isinstance(ALL.get(path, main), click.Group)
    for line in found:
        assert is_group or line.startswith(path)
        parse(line.partition("    ")[0])


def parse(line: str) -> None:
    """Parse a command line without running it."""
    words = shlex.split(line)[1:]
    command: click.Command = main
    context = click.Context(main, info_name="rnnjob")
    while isinstance(command, click.Group):
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
        if not isinstance(command, click.Group):
            command.make_context(command.name, words, parent=context)
