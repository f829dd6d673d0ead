"""The command `rnnjob completion`."""

import click
from click.shell_completion import get_completion_class

from orchestrator.cli.errors import explained
from orchestrator.cli.options.example import example
from orchestrator.cli.output import echo

_VARIABLE = "_RNNJOB_COMPLETE"
"""The environment variable that the script sets and that click looks for."""


@click.command("completion", epilog=example("rnnjob completion bash"))
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@explained
def completion_command(context: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options, run ids and data set names.

    \b
    bash: add to ~/.bashrc
        eval "$(rnnjob completion bash)"
    zsh: add to ~/.zshrc, below compinit
        eval "$(rnnjob completion zsh)"
    fish: run once
        rnnjob completion fish > ~/.config/fish/completions/rnnjob.fish

    Run ids are read from the storage that --storage or RNNJOB_STORAGE names, else from ./runs.
    """
    completion_class = get_completion_class(shell)
    assert completion_class is not None, shell
    echo(completion_class(context.find_root().command, {}, "rnnjob", _VARIABLE).source())
