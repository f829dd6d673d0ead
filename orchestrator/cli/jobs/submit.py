"""The command `rnnjob submit`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, ShippingFlags, cluster_options
from orchestrator.cli.options.completion_values import run_ids
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, verbose_option
from orchestrator.cli.options.spec import as_assignments, spec_from, spec_options
from orchestrator.cli.output import echo, print_json
from orchestrator.runs.repeats import MAX_REPEATS
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.cli.jobs.dry_run import DryRun

_ONLY_FOR_NEW_RUNS = (
    "config",
    "preset",
    "run_id",
    "name",
    "metric_mode",
    "seeds",
    "dry_run",
    "print_config",
)


@click.command(
    "submit", epilog=example("rnnjob submit --local --dataset mnist-sample --epochs 4 --lr 0.01")
)
@click.option("--local", is_flag=True, help="Train in this process, without Ray.")
@spec_options
@cluster_options
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=run_ids,
    help="Continue this run, as rnnjob resume does, instead of starting a new run.",
)
@click.option(
    "--seeds",
    type=click.IntRange(2, MAX_REPEATS),
    metavar="N",
    help="Train N times, with the seed of the spec and those after it, each as a run of its own: "
    "here one after the other, on a cluster side by side where they fit. Ids end in -seedN.",
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the resolved spec and the plan, and start nothing. Nothing is downloaded.",
)
@click.option(
    "--print-config", is_flag=True, help="Print the resolved spec as YAML, and start nothing."
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the run's id.")
@verbose_option
@explained
def submit_command(
    local: bool,
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    address: str | None,
    requests: RequestFlags,
    no_wait: bool,
    sent: ShippingFlags,
    resume: str | None,
    seeds: int | None,
    dry_run: bool,
    print_config: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Train a job and report its accuracy on the test split.

    The job runs in this process (--local) or on the cluster that --address names. Otherwise it runs
    on Ray, which is started on this machine for the job.

    Flags win over --set, --set wins over the file, and the file wins over the preset. The number of
    workers decides only the speed: the weights are the same, bit for bit, on any number of workers.
    With --seeds, the command closes with mean and standard deviation; rnnjob compare sets two such
    groups of runs beside each other.
    """
    from orchestrator import runs
    from orchestrator.cli.jobs.dry_run import plan_new_run
    from orchestrator.cli.options.destination import check_destination, launcher_for
    from orchestrator.cli.repeats import (
        check_all,
        repeats_of,
        run_repeats,
        start_repeats_and_leave,
    )
    from orchestrator.cli.run_to_end import run_to_end, start_and_leave
    from orchestrator.cluster.connection import given_address
    from orchestrator.spec.plan import with_one_cpu

    if resume is not None:
        _resume(click.get_current_context(), resume)
        return
    cluster = None if local else given_address(address)
    check_destination(local, flags["workers"], cluster, no_wait, address)
    shipping = sent.shipping(cluster)
    spec = spec_from(config, preset, assignments, flags)
    if print_config:
        if as_json:
            print_json(spec.model_dump(mode="json"))
        else:
            echo(spec.to_yaml(), nl=False)
        return

    launcher = partial(
        launcher_for,
        runs.LOCAL if local else runs.RAY,
        cluster,
        storage=spec.storage,
        requests=requests,
        shipping=shipping,
        verbose=verbose,
    )
    shared = launcher() if cluster else None  # what is sent there is listed once for all
    if seeds is not None and cluster:  # they run side by side
        spec = with_one_cpu(spec)
    specs = {run_id: spec} if seeds is None else repeats_of(spec, seeds, run_id)
    if dry_run:
        (first_id, first), *others = specs.items()
        _show_plan(plan_new_run(first, shared or launcher(), first_id), as_json)
        for other_id, other in others:
            echo(f"and with seed {other.training.seed}: {other_id}", err=True)
        return
    jobs = check_all(specs, lambda: shared or launcher())
    if seeds is not None and no_wait:
        start_repeats_and_leave(jobs, as_json)
    elif seeds is not None:
        client = requests.client(spec.storage, cluster) if cluster else None
        run_repeats(jobs, client, as_json=as_json, quiet=quiet, verbose=verbose)
    elif no_wait:
        start_and_leave(jobs[0], as_json, quiet=quiet)
    else:
        run_to_end(jobs[0], as_json=as_json, quiet=quiet, verbose=verbose)


def _resume(context: click.Context, run_name: str) -> None:
    """Do what `rnnjob resume` does. Raises InputError for a flag that only a new run can have."""
    from orchestrator.cli.jobs.resume import resume_command

    given = context.params
    for option in context.command.params:
        if option.name in _ONLY_FOR_NEW_RUNS and given[option.name]:
            raise InputError(
                f"--resume continues {run_name} as it was submitted and takes no {option.opts[-1]}",
                "leave one of the two out",
            )
    names = {parameter.name for parameter in resume_command.params}
    shared = {name: value for name, value in given.items() if name in names}
    others = {name: value for name, value in given.items() if name not in names}
    shared["assignments"] += as_assignments(others)
    context.invoke(resume_command, **shared, run_name=run_name)


def _show_plan(job: "DryRun", as_json: bool) -> None:
    """Print the resolved spec and what would run. Nothing is written."""
    plan = dict(job.plan)
    if as_json:
        print_json({"schema_version": 1, "spec": job.spec.model_dump(mode="json"), "plan": plan})
        return
    echo(job.spec.to_yaml(), nl=False)
    echo("# plan")
    if names := plan.get("request", {}).get("working_dir"):
        plan["request"] = {**plan["request"], "working_dir": names["path"]}
    for line in [*_yaml_lines(plan), *job.upload_note]:
        echo(f"#   {line}")
    for note in job.notes:
        echo(note, err=True)
    for warning in job.warnings:
        echo(f"warning: {warning}", err=True)


def _yaml_lines(content: Any) -> list[str]:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, width=200).splitlines()
