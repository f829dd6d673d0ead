"""Starts a job, shows it until it ends, prints what came out, and leaves with its exit code."""

import logging
import os
import sys
from typing import NoReturn

import click

from orchestrator import runs
from orchestrator.cli.common import one_line, print_json, terminated_as
from orchestrator.cli.view import JobView, show_outcome
from orchestrator.follow import Left, Terminated, died, follow
from orchestrator.launchers.base import Launcher
from orchestrator.runs import RunStatus, next_command
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
    is_new: bool = True,
) -> NoReturn:
    """Never returns: ends the process with the job's exit code.

    `is_new`: the run began with this call, so that nothing is to be left of it if it cannot start.
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s")
    every = submission.spec.log.print_every_steps
    with JobView(submission.num_steps, every, quiet=quiet) as view:
        for warning in submission.warnings():
            view.note(f"warning: {warning}")
        view.note(f"run {run.run_id}")
        if quiet and not as_json:
            click.echo(run.run_id)  # at once: it is what others need to stop it
        try:
            with terminated_as(Terminated):
                _submit(run, launcher, is_new)
                status = _follow(run, launcher, view)
        except Left:
            view.note(
                "it goes on: "
                + ", ".join(next_command(run, verb) for verb in ("logs", "wait", "stop"))
            )
            _leave(_INTERRUPTED)
    leave_with(run, status, as_json=as_json, quiet=quiet, view=view)


def _submit(run: RunFolder, launcher: Launcher, is_new: bool) -> None:
    before = runs.read_status(run)
    try:
        launcher.submit(run)
    except BaseException:
        _kill(run, launcher)
        if is_new:
            run.storage.delete()
        else:
            died(run, launcher, before)
        raise


def _follow(run: RunFolder, launcher: Launcher, view: JobView) -> RunStatus:
    """Whatever goes wrong here, nothing of ours runs on unattended; a job on a cluster goes on,
    with or without its follower."""
    try:
        return follow(run, launcher, view)
    except Left:
        raise
    except BaseException:
        _kill(run, launcher)
        raise


def _kill(run: RunFolder, launcher: Launcher) -> None:
    if not launcher.leaves_on_interrupt:
        launcher.kill(run)


def leave_with(
    run: RunFolder, status: RunStatus, *, as_json: bool, quiet: bool, view: JobView
) -> NoReturn:
    """Prints the outcome of a run that ended, and ends the process with its exit code."""
    if status.state == runs.SUCCEEDED:
        show_outcome(view.console, run, status, run.read_json(run.RESULT) or {})
        view.note(
            f"look next: {next_command(run, 'show')}, or open {run.storage.where(run.REPORT)}"
        )
    else:
        click.echo(f"Error: {status.state}: {one_line(status.reason)}", err=True)
        click.echo(f"Try: {one_line(status.cure or next_command(run, 'show'))}", err=True)
    if as_json:
        print_json(run.read_json(run.RESULT) or status.to_json())
    _leave(status.exit_code if status.exit_code is not None else 1)


def launcher_here(mode: str, verbose: bool) -> Launcher:
    """The launcher for this machine; each is imported only when chosen."""
    if mode == "local":
        from orchestrator.launchers.local import LocalLauncher

        return LocalLauncher()
    from orchestrator.launchers.ray_here import RayHereLauncher

    return RayHereLauncher(verbose)


def _leave(exit_code: int) -> NoReturn:
    """At once, without waiting for threads: after a second Ctrl-C the job's may still run."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
