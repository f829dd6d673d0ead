"""rnnjob completion"""

import click
from click.shell_completion import get_completion_class

from orchestrator.cli.common import explained

_VARIABLE = "_RNNJOB_COMPLETE"
"""Set by the script, and looked for by click."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
@explained
def completion_command(context: click.Context, shell: str) -> None:
    """Print a script that lets a shell complete commands, options, run ids and names of data sets.

    \b
    bash: add to ~/.bashrc
        eval "$(rnnjob completion bash)"
    zsh: add to ~/.zshrc, below compinit
        eval "$(rnnjob completion zsh)"
    fish: once
        rnnjob completion fish > ~/.config/fish/completions/rnnjob.fish

    Ids of runs are those in the storage of --storage, RNNJOB_STORAGE or ./runs.
    """
    kind = get_completion_class(shell)
    assert kind is not None, shell
    click.echo(kind(context.find_root().command, {}, "rnnjob", _VARIABLE).source())
