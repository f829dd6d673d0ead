"""The command line: parse, call, print. The only place that imports click.

A command's module is imported when the command runs: `rnnjob --help` needs neither torch, ray nor
pydantic.
"""

import importlib
import io
import sys
from typing import TYPE_CHECKING

import click

from orchestrator import __version__
from orchestrator.cli.colours import colours

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: (module, help); the help stands here so that listing the commands imports none of them
_COMMANDS = {
    "submit": ("submit", "Train a job: in this process, on Ray here, or on a cluster."),
    "list": ("listing", "List the runs of a storage, newest first."),
    "show": ("show", "Show a run: state, metrics, result, files."),
    "status": ("status", "Tell the state of a run in one line."),
    "describe": ("describe", "Tell all that is known of a run, and what Ray Jobs says."),
    "logs": ("logs", "Print what the driver and all workers logged."),
    "wait": ("wait", "Wait until a run has ended; leave with its exit code."),
    "why": ("why", "Say why a run does not run, or why it failed."),
    "stop": ("stop", "Ask a running job to stop, with a checkpoint."),
    "resume": ("resume", "Take a run up again where its last checkpoint left it."),
    "reproduce": ("reproduce", "Run a run again and say whether it is the same."),
    "drill": ("drill", "Prove that nothing is lost: a job with faults, held against one without."),
    "delete": ("delete", "Remove a run that has ended."),
    "export": ("export", "Print a job as a manifest for KubeRay."),
    "doctor": ("doctor", "Check this machine, storage, data set and cluster."),
    "completion": ("completion", "Print a script that completes commands in your shell."),
    "data": ("data", "Prepare data sets."),
    "cluster": ("cluster", "Bring a Ray cluster up or down, here or with Ray's launcher."),
}
_ALIASES = {"ls": "list", "cancel": "stop", "rm": "delete", "check": "doctor"}


class _Lazy(click.Group):
    """Knows all commands by name, and loads one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _ALIASES.get(cmd_name, cmd_name)
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"orchestrator.cli.{_COMMANDS[name][0]}")
        command: click.Command = getattr(module, f"{name}_command")
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=text)
            for name, (_, text) in _COMMANDS.items()
            if name.startswith(incomplete)
        ]
        # Not the group's own: it would load each command for its help.
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])
        also = ", ".join(f"{alias} ({name})" for alias, name in _ALIASES.items())
        formatter.write_paragraph()
        formatter.write_text(f"Also: {also}")


def run() -> None:
    """The console script: every error is one line of cause and one of cure."""
    try:
        sys.exit(main(standalone_mode=False))
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rnnjob"
        cause = " ".join(error.format_message().split()).rstrip(".")
        click.echo(f"Error: {cause}\nTry: {path} --help", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        sys.exit(130)


@click.group(
    cls=_Lazy, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name="rnnjob")
@click.pass_context
def main(context: click.Context) -> None:
    """Distributed training of recurrent classifiers, the same to the bit on any number of workers.

    \b
    rnnjob submit --local --dataset mnist-sample     one process, no Ray
    rnnjob submit --workers 2                        Ray on this machine
    rnnjob list                                      what ran, and what came of it
    rnnjob show @last
    """
    context.color = colours()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: nothing is unprintable
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
