"""The command line: parse arguments, call the library, print. Only this package imports click.

To add a command, write its module in the group that fits and add its line to `_COMMANDS`.

A command's module is imported only when the command runs, so `rnnjob --help` loads neither torch,
ray nor pydantic.
"""

import importlib
import io
import sys
from typing import TYPE_CHECKING

import click

from orchestrator import __version__
from orchestrator.cli.options.example import example
from orchestrator.cli.output import colours, echo, print_logs_and_tracebacks

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: (module, help text). The texts are here so that a list of commands imports none of them.
_COMMANDS = {
    "submit": (
        "jobs.submit",
        "Train a job in this process, with local Ray, or on a cluster.",
    ),
    "init": ("jobs.init", "Write a job.yaml to begin with."),
    "list": ("runs.listing", "List the runs of a storage, newest first."),
    "show": ("runs.show", "Show the state, metrics, result and files of a run."),
    "status": ("runs.status", "Print the state of a run in one line."),
    "describe": ("runs.describe", "Print all details of a run, including what Ray Jobs reports."),
    "logs": ("runs.logs", "Print the logs of the driver and of all workers."),
    "wait": ("jobs.wait", "Wait until a run has ended, and exit with its exit code."),
    "why": ("runs.why", "Explain why a run is not running, or why it failed."),
    "scaling": (
        "jobs.scaling",
        "Measure the speed of a job on several numbers of workers.",
    ),
    "compare": ("runs.compare", "Print what differs between runs, and whether it is noise."),
    "report": ("runs.report", "Write an HTML page about one run or several."),
    "track": ("runs.track", "Send runs to an MLflow server, without what it has already."),
    "explain": ("runs.explain", "Show what a recurrent model does at each time step."),
    "stop": ("jobs.stop", "Ask a running job to write a checkpoint and stop."),
    "resume": ("jobs.resume", "Continue a run from its last checkpoint."),
    "evaluate": ("models.evaluate", "Compute the metrics of a run's model on any data."),
    "predict": ("models.predict", "Predict the class or the number of each row of files."),
    "reproduce": ("trust.reproduce", "Repeat a run and report whether the result is the same."),
    "drill": (
        "trust.drill",
        "Run a job with injected faults and check that nothing is lost.",
    ),
    "delete": ("runs.delete", "Delete runs that have ended."),
    "prune": ("runs.prune", "Remove cut data sets, checkpoints and leftovers that nothing needs."),
    "export": ("export", "Write a run's model as ONNX and the like; or a job for KubeRay."),
    "doctor": ("cluster.doctor", "Check this machine, the storage, the data set and the cluster."),
    "completion": ("completion", "Print a script that completes rnnjob commands in your shell."),
    "data": ("data.prepare", "Look into, import and prepare data sets."),
    "cluster": ("cluster.up_and_down", "Start or stop a Ray cluster, locally or with `ray up`."),
}
_ALIASES = {"ls": "list", "cancel": "stop", "rm": "delete", "check": "doctor"}


class _LazyGroup(click.Group):
    """A group that knows all commands by name, and imports a command only when it is needed."""

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
        # click.Group.shell_complete would import every command to read its help.
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])
        aliases = ", ".join(f"{alias} ({name})" for alias, name in _ALIASES.items())
        formatter.write_paragraph()
        formatter.write_text(f"Aliases: {aliases}")


def run() -> None:
    """Run the console script, and print every error as one line of cause and one of cure."""
    try:
        sys.exit(main(standalone_mode=False))
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "rnnjob"
        cause = " ".join(error.format_message().split()).rstrip(".")
        echo(f"Error: {cause}\nTry: {path} --help", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        echo("interrupted", err=True)
        sys.exit(130)


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=example(
        "rnnjob submit --local --dataset mnist-sample     one process, no Ray",
        "rnnjob submit --workers 2                        Ray on this machine",
        "rnnjob list                                      all runs and their results",
        "rnnjob show @last                                details of the newest run",
    ),
)
@click.version_option(__version__, prog_name="rnnjob")
@click.pass_context
def main(context: click.Context) -> None:
    """Distributed training of recurrent models. The result is the same, bit for bit, on any
    number of workers.
    """
    context.color = colours()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # like stderr: any text can be printed
    if context.invoked_subcommand:
        print_logs_and_tracebacks()
    else:
        echo(context.get_help())
