"""The command `rnnjob reproduce`."""

from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator import runs
from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import (
    RequestFlags,
    ShippingFlags,
    request_options,
    shipping_options,
)
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import (
    json_option,
    open_storage,
    run_argument,
    storage_option,
    trust_code_option,
    verbose_option,
)
from orchestrator.cli.options.spec import gpus_per_worker_option
from orchestrator.cli.output import echo, print_json
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.launch.submission import Submission
    from orchestrator.runs import RunStatus
    from orchestrator.runs.comparison import Comparison, Pairs, Trace
    from orchestrator.spec.job_spec import JobSpec
    from workers.records.run_folder import RunFolder


@click.command("reproduce", epilog=example("rnnjob reproduce @last --steps 4"))
@run_argument
@storage_option
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train and compare only the first N steps.  [default: all that RUN has on record]",
)
@click.option("--local", is_flag=True, help="Run in this process, without Ray: the default.")
@click.option(
    "--workers",
    "--num-workers",
    metavar="N|MIN:MAX",
    help="Run on Ray with this number of training processes, or a range MIN:MAX.",
)
@gpus_per_worker_option("as RUN")
@trust_code_option
@click.option(
    "--address",
    metavar="URL",
    help="Run on the cluster with this dashboard URL or name. The address in the environment is "
    "ignored.",
)
@request_options
@shipping_options
@click.option("--run-id", metavar="ID", help="Id of the new run.  [default: RUN-again-XXXX]")
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the new run's id.")
@verbose_option
@explained
def reproduce_command(
    run_name: str,
    storage: str | None,
    steps: int | None,
    local: bool,
    workers: str | None,
    gpus_per_worker: float | None,
    trust_code: bool,
    address: str | None,
    requests: RequestFlags,
    sent: ShippingFlags,
    run_id: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Run the spec of a run again, as a new run, and report whether the two are the same.

    RUN: an id, a unique prefix, or @last. Loss, accuracy, rows, learning rate and gradient norm of
    each step are compared bit for bit. The weights and the test loss are compared, too, if both
    runs finished. If the runs differ, the command prints the first step that differs, and what
    differs in code, packages, data, hardware, precision and spec.

    Exit code 0: the runs are the same. 1: they differ, or the new run failed.
    """
    from orchestrator.cli.options.destination import launcher_for
    from orchestrator.launch.model_code import stored_code
    from orchestrator.launch.submission import check_new_run
    from orchestrator.runs.comparison import again_id, steps_to_run, trace_of

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
    shipping = sent.shipping(address)
    launcher = launcher_for(
        runs.LOCAL if workers is None else runs.RAY,
        address,
        storage=spec.storage,
        shipping=shipping,
        requests=requests,
        verbose=verbose,
    )
    job = check_new_run(spec, launcher, new_id, stored_code(run, spec, trust_code))
    _run_and_compare(first, until, job, as_json=as_json, quiet=quiet, verbose=verbose)


def _run_and_compare(
    first: "Trace", until: int, job: "Submission", *, as_json: bool, quiet: bool, verbose: bool
) -> NoReturn:
    """Run the job, print how it compares with the first run, and end the process.

    The exit code is that of the comparison, or that of the job if the comparison decides nothing.
    """
    from orchestrator.cli.run_to_end import leave, show_failure, start_and_follow
    from orchestrator.display.terminal import JobView
    from orchestrator.runs.comparison import compare, trace_of

    again = job.create_run()
    view = JobView(min(until, job.num_steps), job.spec.log.print_every_steps, quiet=quiet)
    print_id = quiet and not as_json
    status = start_and_follow(job, again, view, print_id=print_id, verbose=verbose)
    comparison = compare(first, trace_of(again), status, until)
    if as_json:
        print_json(comparison.to_json())
    elif not quiet:
        _show(comparison)
    if status.state == runs.FAILED or not (comparison.same or comparison.differs):
        show_failure(again, status)
    leave(_exit_code(comparison, status))


def _exit_code(comparison: "Comparison", status: "RunStatus") -> int:
    if comparison.same:
        return 0
    return 1 if comparison.differs else status.exit_code or 1


def _spec_again(run: "RunFolder", steps: int, scaling: dict[str, Any]) -> "JobSpec":
    """Return the spec of a run, limited to its first steps, in the storage where the run is now.

    It has no time limit, which could end the new run before these steps are done, and no tracker,
    which may be a stranger's.
    """
    from orchestrator.spec.plan import read_spec

    limits = {"limits.steps": steps, "limits.time": None, "tracking.mlflow": None}
    return read_spec(run).with_values({"storage": run.storage.parent_uri, **limits, **scaling})


def _show(comparison: "Comparison") -> None:
    echo(_verdict(comparison))
    if comparison.first_step is not None:
        _show_pairs(comparison, comparison.step_values)
    elif comparison.differs:
        _show_pairs(comparison, comparison.differing_outcome)
    if comparison.differences:
        echo("\nalso different:" if comparison.differs else "\ndifferent, but without an effect:")
        _show_pairs(comparison, comparison.differences)
        if comparison.about_rows:
            echo(comparison.about_rows)
    elif comparison.differs:
        echo(
            "\nnothing else that was recorded differs: neither code, packages, data, hardware, "
            "precision nor spec"
            if comparison.facts_known
            else f"\nwhether anything else differs is unknown: {comparison.run_id} or "
            f"{comparison.again_run_id} has no provenance.json"
        )


def _verdict(comparison: "Comparison") -> str:
    if comparison.first_step is not None:
        return f"differs: first at step {comparison.first_step}"
    if comparison.differs:
        return f"differs: only after {comparison.steps_compared} equal steps"
    if not comparison.same:
        steps = f"{comparison.steps_compared} of {comparison.steps_wanted} steps"
        return (
            f"unknown: {steps} were compared and are equal, but {comparison.again_run_id} is "
            f"{comparison.again_state}"
        )
    weights = comparison.outcome["weights_sha256"]
    weights_text = f", weights {weights[0][:16]}" if None not in weights else ""
    return f"same: {comparison.steps_compared} step(s){weights_text}"


def _show_pairs(comparison: "Comparison", pairs: "Pairs") -> None:
    from rich.table import Table

    from orchestrator.cli.console import plain_console

    table = Table("", comparison.run_id, comparison.again_run_id, box=None, pad_edge=False)
    for name, (before, after) in pairs.items():
        table.add_row(name, _shown(name, before), _shown(name, after))
    plain_console().print(table, soft_wrap=True)


def _shown(name: str, value: Any) -> str:
    if name.endswith(("sha256", "fingerprint")):
        return str(value)[:16]
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
