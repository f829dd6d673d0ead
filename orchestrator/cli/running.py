"""Starts a job, shows it until it ends, prints what came out, and leaves with its exit code."""

import logging
import os
import sys
from typing import NoReturn

import click

from orchestrator import runs
from orchestrator.cli.common import one_line, print_json, terminated_as
from orchestrator.cli.view import JobView, show_outcome
from orchestrator.follow import Left, Terminated, follow
from orchestrator.launchers.base import Launcher
from orchestrator.result import read_result
from orchestrator.runs import RunStatus, next_command
from orchestrator.starting import start
from orchestrator.submission import Submission
from workers.run_folder import RunFolder

_INTERRUPTED = 130


def run_to_end(
    run: RunFolder,
    submission: Submission,
    launcher: Launcher,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> NoReturn:
    """Never returns: ends the process with the job's exit code."""
    view = JobView(submission.num_steps, submission.spec.log.print_every_steps, quiet=quiet)
    print_id = quiet and not as_json
    status = follow_to_end(run, submission, launcher, view, print_id=print_id, verbose=verbose)
    leave_with(run, status, as_json=as_json, quiet=quiet, view=view)


def follow_to_end(
    run: RunFolder,
    submission: Submission,
    launcher: Launcher,
    view: JobView,
    *,
    print_id: bool,
    verbose: bool,
) -> RunStatus:
    """The terminal status; ends the process only where Ctrl-C leaves a job that goes on."""
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    with view:
        for warning in submission.warnings():
            view.note(f"warning: {warning}")
        view.note(f"run {run.run_id}")
        if print_id:
            click.echo(run.run_id)  # at once: it is what others need to stop it
        try:
            with terminated_as(Terminated):
                start(run, launcher, submission)
                return _follow(run, launcher, view)
        except Left:
            view.note(
                "it goes on: "
                + ", ".join(next_command(run, verb) for verb in ("logs", "wait", "stop"))
            )
            leave(_INTERRUPTED)


def _follow(run: RunFolder, launcher: Launcher, view: JobView) -> RunStatus:
    """Whatever goes wrong here, nothing of ours runs on unattended; a job on a cluster goes on,
    with or without its follower."""
    try:
        return follow(run, launcher, view)
    except Left:
        raise
    except BaseException:
        if not launcher.leaves_on_interrupt:
            launcher.kill(run)
        raise


def leave_with(
    run: RunFolder, status: RunStatus, *, as_json: bool, quiet: bool, view: JobView
) -> NoReturn:
    """Prints the outcome of a run that ended, and ends the process with its exit code."""
    if status.state == runs.SUCCEEDED:
        show_outcome(view.console, run, status, read_result(run) or {})
        view.note(
            f"look next: {next_command(run, 'show')}, or open {run.storage.where(run.REPORT)}"
        )
    else:
        show_failure(run, status)
    if as_json:
        print_json(read_result(run) or status.to_json())
    leave(status.exit_code if status.exit_code is not None else 1)


def show_failure(run: RunFolder, status: RunStatus) -> None:
    """One line of cause and one of cure, for a run that did not end well."""
    click.echo(f"Error: {status.state}: {one_line(status.reason)}", err=True)
    click.echo(f"Try: {one_line(status.cure or next_command(run, 'show'))}", err=True)


def launcher_here(mode: str, verbose: bool) -> Launcher:
    """The launcher for this machine; each is imported only when chosen."""
    if mode == "local":
        from orchestrator.launchers.local import LocalLauncher

        return LocalLauncher()
    from orchestrator.launchers.ray_here import RayHereLauncher

    return RayHereLauncher(verbose)


def leave(exit_code: int) -> NoReturn:
    """At once, without waiting for threads: after a second Ctrl-C the job's may still run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
