"""Start a job, show it until it ends, print what came out, and exit with its exit code.

The outcome goes to stdout, all that is told on the way to stderr.
"""

import logging
import os
import sys
from typing import TYPE_CHECKING, NoReturn

from rich.table import Table

from orchestrator import runs
from orchestrator.cli.console import plain_console
from orchestrator.cli.errors import terminated_as
from orchestrator.cli.output import echo, one_line, print_json
from orchestrator.display.outcome import outcome_rows, score_name
from orchestrator.display.terminal import JobView
from orchestrator.launch.launcher import Launcher
from orchestrator.launch.submission import Submission
from orchestrator.observe.follow import Left, Terminated, follow
from orchestrator.runs import RunStatus, next_command
from orchestrator.runs.progress import Reached
from orchestrator.runs.result import read_result
from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json

if TYPE_CHECKING:
    from rich.console import Console

_INTERRUPTED = 130


def run_to_end(job: Submission, *, as_json: bool, quiet: bool, verbose: bool) -> NoReturn:
    """Run a job to its end, print its outcome, and end the process with its exit code."""
    run = job.create_run()
    view = JobView(job.num_steps, job.spec.log.print_every_steps, quiet=quiet)
    print_id = quiet and not as_json
    status = start_and_follow(job, run, view, print_id=print_id, verbose=verbose)
    if status.state == runs.SUCCEEDED:
        console = view.console if quiet or as_json else plain_console()
        show_outcome(console, run, status, read_result(run) or {})
        view.note(
            f"look next: {next_command(run, 'show')}, or open {run.storage.where(run.REPORT)}"
        )
    else:
        show_failure(run, status)
    if as_json:
        print_json(read_result(run) or status.to_json())
    leave(status.exit_code if status.exit_code is not None else 1)


def start_and_follow(
    job: Submission, run: RunFolder, view: JobView, *, print_id: bool, verbose: bool
) -> RunStatus:
    """Start a job whose run folder is written, and return its terminal status.

    Ends the process if Ctrl-C leaves a job that goes on. Raises JobError if it cannot be started.
    """
    view.begin_after(run.with_retries().use_metrics(Reached.of))
    if verbose:
        logging.getLogger().setLevel(logging.INFO)
    with view:
        for note in job.notes():
            view.note(note)
        for warning in job.warnings():
            view.note(f"warning: {warning}")
        for line in job.upload_note():
            view.note(line)
        view.note(f"run {run.run_id}")
        if print_id:
            echo(run.run_id)  # at once, since others need it to stop the job
        try:
            with terminated_as(Terminated):
                job.launch(run)
                return _follow(run, job.launcher, view)
        except Left:
            view.note(
                "it goes on: "
                + ", ".join(next_command(run, verb) for verb in ("logs", "wait", "stop"))
            )
            leave(_INTERRUPTED)


def _follow(run: RunFolder, launcher: Launcher, view: JobView) -> RunStatus:
    """Follow the job. Whatever goes wrong, no process of ours runs on unattended; a job on a
    cluster goes on with or without its follower."""
    try:
        return follow(run, launcher, view)
    except Left:
        raise
    except BaseException:
        if not launcher.leaves_on_interrupt:
            launcher.kill(run)
        raise


def start_and_leave(job: Submission, as_json: bool, *, quiet: bool) -> None:
    """Start a job on a cluster, print its id and return. Raises JobError."""
    for line in [] if quiet else job.upload_note():
        echo(line, err=True)
    run = job.start()
    if as_json:
        print_json({"schema_version": 1, "run_id": run.run_id, "run_folder": run.storage.where()})
    else:
        echo(run.run_id)


def show_outcome(console: "Console", run: RunFolder, status: RunStatus, result: Json) -> None:
    """Print the table that closes a run."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in outcome_rows(run, status, result):
        is_score = name == score_name(result)
        table.add_row(name, value, style="bold" if is_score else None)
    console.print(table)


def show_failure(run: RunFolder, status: RunStatus) -> None:
    """Print one line of cause and one of cure for a run that did not end well."""
    echo(f"Error: {status.state}: {one_line(status.reason)}", err=True)
    echo(f"Try: {one_line(status.cure or next_command(run, 'show'))}", err=True)


def leave(exit_code: int) -> NoReturn:
    """End the process at once, without waiting for threads: the job's may still run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
