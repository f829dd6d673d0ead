"""Every command and every option has a help text."""

from collections.abc import Iterator

import click
import pytest

from orchestrator.cli import _ALIASES, _COMMANDS, main


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield all commands below a group, each with the words that call it."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, f"{path} {name} is listed, but does not exist"
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


ALL = dict(commands(main, "rnnjob"))


@pytest.mark.parametrize("path", ALL)
def test_a_command_and_its_options_have_help(path: str) -> None:
    command = ALL[path]
    assert (command.help or "").strip(), f"{path} has no docstring"
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert (parameter.help or "").strip(), f"{path} {parameter.opts[0]} has no help"


def test_the_list_of_commands_is_complete() -> None:
    assert {"rnnjob submit", "rnnjob cluster up", "rnnjob data prepare"} <= set(ALL)
    assert set(_ALIASES.values()) <= set(_COMMANDS)
    assert not set(_ALIASES) & set(_COMMANDS)
    assert all(text.strip() and text.endswith(".") for _, text in _COMMANDS.values())


@pytest.mark.parametrize("alias", _ALIASES)
def test_an_alias_is_the_command_that_it_stands_for(alias: str) -> None:
    context = click.Context(main)
    assert main.get_command(context, alias) is main.get_command(context, _ALIASES[alias])
