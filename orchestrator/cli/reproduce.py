"""rnnjob reproduce"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator import runs
from orchestrator.cli.cluster_options import (
    headers_from,
    request_options,
    shipping_from,
    shipping_options,
)
from orchestrator.cli.common import (
    explained,
    json_option,
    open_storage,
    print_json,
    storage_option,
)
from orchestrator.cli.run_options import run_argument
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.job_spec import JobSpec
    from orchestrator.launchers.base import Launcher
    from orchestrator.reproduce import Comparison, Pairs, Trace
    from orchestrator.runs import RunStatus
    from orchestrator.submission import Submission
    from workers.run_folder import RunFolder


@click.command("reproduce")
@run_argument
@storage_option
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the first so many.  [default: all that RUN has on record]",
)
@click.option("--local", is_flag=True, help="In this process, without Ray: the default.")
@click.option("--workers", "--num-workers", metavar="N|MIN:MAX", help="On Ray, with so many.")
@click.option("--gpus-per-worker", type=int, help="0 or 1.  [default: as RUN]")
@click.option(
    "--address",
    metavar="URL",
    help="On the cluster with this dashboard or name; the environment's is not taken.",
)
@request_options
@shipping_options
@click.option("--run-id", metavar="ID", help="Of the new run.  [default: RUN-again-XXXX]")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print the new run's id and nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Ray's own output, and tracebacks.")
@explained
def reproduce_command(
    run_name: str,
    storage: str | None,
    steps: int | None,
    local: bool,
    workers: str | None,
    gpus_per_worker: int | None,
    address: str | None,
    headers: str | None,
    verify: bool,
    working_dir: Path | None,
    env: tuple[str, ...],
    env_file: Path | None,
    secret: tuple[str, ...],
    run_id: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run the spec of a run again, as a new run, and say whether it is the same.

    RUN: an id, a unique prefix, or @last. Loss, accuracy, rows, learning rate and gradient norm of
    each step are compared bit for bit, and the weights and the test loss where both runs finished.
    Where they differ: at which step first, and what differs in code, packages, data, hardware,
    precision and spec.

    Exit code 0: the same. 1: it differs, or the new run failed.
    """
    from orchestrator.client import Client
    from orchestrator.reproduce import again_id, steps_to_run, trace_of

    if local and (workers is not None or address is not None):
        raise InputError(
            "--local is one process and takes neither --workers nor --address",
            "leave one of the two out",
        )
    run = runs.find_run(open_storage(storage), run_name)
    first = trace_of(run)
    until = steps_to_run(first, steps)
    scaling = {"scaling.workers": workers, "scaling.gpus_per_worker": gpus_per_worker}
    spec = _spec_again(run, until, {k: v for k, v in scaling.items() if v is not None})
    new_id = again_id(run.run_id) if run_id is None else run_id
    shipping = shipping_from(working_dir, env, env_file, secret, address)
    if address is None:
        job, launcher = _job_here(spec, new_id, "local" if workers is None else "ray", verbose)
    else:
        client = Client(spec.storage, address, verify, headers_from(headers))
        there = client.check(spec, new_id, shipping)
        job, launcher = there.submission, there.launcher
    _run_and_compare(first, until, job, launcher, as_json=as_json, quiet=quiet, verbose=verbose)


def _run_and_compare(
    first: "Trace",
    until: int,
    job: "Submission",
    launcher: "Launcher",
    *,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> NoReturn:
    """Ends the process: with the comparison's exit code, or that of a job which decides nothing."""
    from orchestrator.cli.running import follow_to_end, leave, show_failure
    from orchestrator.cli.view import JobView
    from orchestrator.reproduce import compare, trace_of

    again = job.create_run()
    view = JobView(min(until, job.num_steps), job.spec.log.print_every_steps, quiet=quiet)
    print_id = quiet and not as_json
    status = follow_to_end(again, job, launcher, view, print_id=print_id, verbose=verbose)
    found = compare(first, trace_of(again), status, until)
    if as_json:
        print_json(found.to_json())
    elif not quiet:
        _show(found)
    if status.state == runs.FAILED or not (found.same or found.differs):
        show_failure(again, status)
    leave(_exit_code(found, status))


def _exit_code(found: "Comparison", status: "RunStatus") -> int:
    if found.same:
        return 0
    return 1 if found.differs else status.exit_code or 1


def _spec_again(run: "RunFolder", steps: int, scaling: dict[str, Any]) -> "JobSpec":
    """The spec of a run, for so many steps of it, in the storage where the run is now. Its time
    limit would only end it before they are done."""
    from orchestrator.plan import read_spec

    limits = {"limits.steps": steps, "limits.time": None}
    return read_spec(run).with_values({"storage": run.storage.parent_uri, **limits, **scaling})


def _job_here(
    spec: "JobSpec", run_id: str, mode: str, verbose: bool
) -> "tuple[Submission, Launcher]":
    from orchestrator import submission
    from orchestrator.cli.running import launcher_here

    return submission.check(spec, mode, run_id), launcher_here(mode, verbose)


def _show(found: "Comparison") -> None:
    click.echo(_verdict(found))
    if found.first_step is not None:
        _show_pairs(found, found.step_values)
    elif found.differs:
        _show_pairs(found, found.differing_outcome)
    if found.differences:
        click.echo("\ndiffers, too:" if found.differs else "\ndiffers, without an effect:")
        _show_pairs(found, found.differences)
    elif found.differs:
        click.echo(
            "\nnothing else that was recorded differs: neither code, packages, data, hardware, "
            "precision nor spec"
            if found.facts_known
            else f"\nwhat else differs is not known: {found.run_id} or {found.again_run_id} has no "
            "provenance.json"
        )


def _verdict(found: "Comparison") -> str:
    if found.first_step is not None:
        return f"differs: first at step {found.first_step}"
    if found.differs:
        return f"differs: after {found.steps_compared} steps that are the same"
    if not found.same:
        compared = f"{found.steps_compared} of {found.steps_wanted} steps compared and the same"
        return f"not known: {compared}, but {found.again_run_id} {found.again_state}"
    weights = found.outcome["weights_sha256"]
    told = f", weights {weights[0][:16]}" if None not in weights else ""
    return f"same: {found.steps_compared} step(s){told}"


def _show_pairs(found: "Comparison", pairs: "Pairs") -> None:
    from rich.table import Table

    from orchestrator.cli.view import plain_console

    table = Table("", found.run_id, found.again_run_id, box=None, pad_edge=False)
    for name, (before, after) in pairs.items():
        table.add_row(name, _shown(name, before), _shown(name, after))
    plain_console().print(table, soft_wrap=True)


def _shown(name: str, value: Any) -> str:
    if name.endswith(("sha256", "fingerprint")):
        return str(value)[:16]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
