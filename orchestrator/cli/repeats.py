"""Run a job several times, with other seeds or other workers, and print how they came out."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from orchestrator import runs
from orchestrator.cli.console import plain_console
from orchestrator.cli.output import echo, print_json
from orchestrator.cli.run_to_end import leave, show_failure, start_and_follow
from orchestrator.display.differences import WIDTH, repeats_table
from orchestrator.display.terminal import JobView
from orchestrator.launch.launcher import Launcher
from orchestrator.launch.submission import Submission, check_new_run
from orchestrator.observe.side_by_side import run_side_by_side
from orchestrator.runs import RunStatus, read_status
from orchestrator.runs.repeats import check_free, repeat_id
from orchestrator.runs.side_by_side.columns import Column, read_column
from orchestrator.spec.job_spec import JobSpec
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.client import Client

_INTERRUPTED = 130


def repeats_of(spec: JobSpec, number: int, run_id: str | None) -> Mapping[str | None, JobSpec]:
    """Return a spec, and the id of its run, for each seed from that of the spec on.

    Raises JobError if an id is taken.
    """
    name = runs.new_run_id(spec.name) if run_id is None else run_id
    first = spec.training.seed
    seeds = {repeat_id(name, seed): seed for seed in range(first, first + number)}
    check_free(Storage(spec.storage), seeds)
    return {each: spec.with_values({"training.seed": seed}) for each, seed in seeds.items()}


def check_all(
    specs: Mapping[str | None, JobSpec], launcher: Callable[[], Launcher]
) -> list[Submission]:
    """Check the job of each spec, whose key is the id of its run.

    `launcher`: returns the launcher of a job. Those of this machine keep a job's processes and its
    restarts, so each job needs its own.

    Raises JobError.
    """
    return [check_new_run(spec, launcher(), run_id) for run_id, spec in specs.items()]


def run_repeats(
    jobs: Sequence[Submission],
    client: "Client | None",
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> NoReturn:
    """Run repeats, print their outcome with mean and spread, and end the process.

    `client`: of the cluster on which they run side by side; None if they run here, one after the
    other.

    The exit code is that of the first repeat that did not succeed.
    """
    ended = run_all(jobs, client, as_json=as_json, quiet=quiet, verbose=verbose)
    folders = {job.run_id: job.run for job in jobs}
    column = read_column(
        [folders[status.run_id] for status in ended], lambda run: read_status(run).state
    )
    if as_json or not quiet:
        show_repeats(column, as_json)
    leave_as(jobs, ended)


def run_all(
    jobs: Sequence[Submission],
    client: "Client | None",
    at_once: int | None = None,
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> list[RunStatus]:
    """Run jobs and return their terminal statuses. Ends the process if Ctrl-C leaves them.

    Args:
        client: as for `run_repeats`.
        at_once: how many run side by side on a cluster; None for as many as fit.
    """
    if client is None:
        return _one_after_the_other(jobs, as_json=as_json, quiet=quiet, verbose=verbose)
    at_once = at_once or jobs[0].jobs_at_once
    return _side_by_side(jobs, client, at_once, as_json=as_json, quiet=quiet)


def leave_as(jobs: Sequence[Submission], ended: Sequence[RunStatus]) -> NoReturn:
    """End the process with the exit code of the first run that did not succeed, and say why."""
    failed = next((status for status in ended if status.state != runs.SUCCEEDED), None)
    if failed is None:
        leave(0)
    show_failure(next(job.run for job in jobs if job.run_id == failed.run_id), failed)
    leave(failed.exit_code or 1)


def start_repeats_and_leave(jobs: Sequence[Submission], as_json: bool) -> None:
    """Start all repeats on a cluster, print their ids and return. Raises JobError."""
    started = []
    for job in jobs:
        started.append(job.start().run_id)
        if not as_json:
            echo(started[-1])
    if as_json:
        print_json({"schema_version": 1, "runs": started})
    if len(jobs) > jobs[0].jobs_at_once:
        limit = jobs[0].spec.limits.pending_timeout
        echo(
            f"warning: {jobs[0].jobs_at_once} of them fit the cluster at once; the others fail "
            f"if they wait for more than {limit}: see --pending-timeout",
            err=True,
        )


def show_repeats(column: Column, as_json: bool) -> None:
    """Print repeats with their outcome, mean and standard deviation."""
    if as_json:
        print_json(column.repeats_to_json())
    else:
        plain_console(WIDTH).print(repeats_table(column))


def _one_after_the_other(
    jobs: Sequence[Submission], *, as_json: bool, quiet: bool, verbose: bool
) -> list[RunStatus]:
    """Return the terminal statuses. The first repeat that does not succeed is the last one."""
    ended = []
    for job in jobs:
        run = job.create_run()
        view = JobView(job.num_steps, job.spec.log.print_every_steps, quiet=quiet)
        print_id = quiet and not as_json
        ended.append(start_and_follow(job, run, view, print_id=print_id, verbose=verbose))
        if ended[-1].state != runs.SUCCEEDED:
            break
    return ended


@dataclass
class _Lines:
    """Says of each repeat when it is started and how it ended."""

    quiet: bool
    print_ids: bool
    not_started: list[str]
    going: list[str] = field(default_factory=list)

    def started(self, run_id: str) -> None:
        self.not_started.remove(run_id)
        self.going.append(run_id)
        if self.print_ids:
            echo(run_id)
        elif not self.quiet:
            echo(f"run {run_id}", err=True)

    def ended(self, status: RunStatus) -> None:
        self.going.remove(status.run_id)
        if not self.quiet:
            echo(f"{status.run_id} {status.state}", err=True)


def _side_by_side(
    jobs: Sequence[Submission], client: "Client", at_once: int, *, as_json: bool, quiet: bool
) -> list[RunStatus]:
    """Return the terminal statuses. Ends the process if Ctrl-C leaves the jobs."""
    lines = _Lines(quiet, quiet and not as_json, [job.run_id for job in jobs])
    if not quiet:
        for line in jobs[0].upload_note():
            echo(line, err=True)
    try:
        return run_side_by_side(jobs, at_once, client.status, lines)
    except KeyboardInterrupt:
        echo(f"left; on the cluster go on: {', '.join(lines.going) or 'none'}", err=True)
        if lines.not_started:
            echo(f"not started: {', '.join(lines.not_started)}", err=True)
        leave(_INTERRUPTED)
