"""rnnjob submit"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.cluster_options import cluster_options, headers_from, shipping_from
from orchestrator.cli.common import explained, json_option, print_json
from orchestrator.cli.completing import run_ids
from orchestrator.cli.spec_options import as_assignments, spec_from, spec_options
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.launchers.request import JobRequest
    from orchestrator.submission import Submission
    from workers.run_folder import RunFolder

_OF_NEW_RUNS = ("config", "preset", "run_id", "name", "metric_mode", "dry_run", "print_config")


@click.command("submit")
@click.option("--local", is_flag=True, help="Train in this process, without Ray.")
@spec_options
@cluster_options
@click.option(
    "--resume",
    metavar="RUN",
    shell_complete=run_ids,
    help="Start no new run: take this one up again, as rnnjob resume does.",
)
@click.option("--dry-run", is_flag=True, help="Show the resolved spec and the plan; start nothing.")
@click.option(
    "--print-config", is_flag=True, help="Print the resolved spec as YAML; start nothing."
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print the run's id and nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Ray's own output, and tracebacks.")
@explained
def submit_command(
    local: bool,
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    address: str | None,
    headers: str | None,
    verify: bool,
    no_wait: bool,
    working_dir: Path | None,
    env: tuple[str, ...],
    env_file: Path | None,
    secret: tuple[str, ...],
    resume: str | None,
    dry_run: bool,
    print_config: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Train a job and report its accuracy on the test split.

    Where it runs: in this process (--local), on the cluster of --address, else on a Ray that is
    started on this machine for the job.

    Flags win over --set, that over the file, that over the preset. The job decides the result,
    the workers only the speed: its weights are the same, bit for bit, on any number of workers.
    """
    from orchestrator import submission
    from orchestrator.cli.running import launcher_here, run_to_end
    from orchestrator.client import Client
    from orchestrator.cluster.connection import given_address

    if resume is not None:
        _resume(click.get_current_context(), resume)
        return
    where = None if local else given_address(address)
    check_where(local, flags["workers"], where, no_wait, address)
    shipping = shipping_from(working_dir, env, env_file, secret, where)
    spec = spec_from(config, preset, assignments, flags)
    if print_config:
        if as_json:
            print_json(spec.model_dump(mode="json"))
        else:
            click.echo(spec.to_yaml(), nl=False)
        return
    if where is None:
        checked = submission.check(spec, "local" if local else "ray", run_id)
        if dry_run:
            _show_plan(checked, None, as_json)
            return
        launcher = launcher_here(checked.mode, verbose)
        run = checked.create_run()
        run_to_end(run, checked, launcher, as_json=as_json, quiet=quiet, verbose=verbose)
    client = Client(spec.storage, where, verify, headers_from(headers))
    job = client.check(spec, run_id, shipping)
    if dry_run:
        _show_plan(job.submission, job.request, as_json)
    elif no_wait:
        print_id(job.start(), as_json)
    else:
        run = job.submission.create_run()
        run_to_end(run, job.submission, job.launcher, as_json=as_json, quiet=quiet, verbose=verbose)


def _resume(context: click.Context, run_name: str) -> None:
    """What `rnnjob resume` does, with all that a submission may say of a run that is there."""
    from orchestrator.cli.resume import resume_command

    given = context.params
    for option in context.command.params:
        if option.name in _OF_NEW_RUNS and given[option.name]:
            raise InputError(
                f"--resume takes up {run_name} as it was submitted, and no {option.opts[-1]}",
                "leave one of the two out",
            )
    names = {parameter.name for parameter in resume_command.params}
    shared = {name: value for name, value in given.items() if name in names}
    others = {name: value for name, value in given.items() if name not in names}
    shared["assignments"] += as_assignments(others)
    context.invoke(resume_command, **shared, run_name=run_name)


def check_where(
    local: bool,
    workers: str | None,
    where: str | None,
    no_wait: bool,
    address: str | None,
) -> None:
    """Flags that say where a job runs and contradict each other are an InputError."""
    if local and workers is not None:
        raise InputError(
            "--local is one process and takes no --workers", "leave one of the two out"
        )
    if local and address is not None:
        raise InputError("--local needs no --address", "leave one of the two out")
    if no_wait and where is None:
        raise InputError(
            "--no-wait needs a cluster that goes on without this process",
            "name one: --address, or start one: rnnjob cluster up --local",
        )


def print_id(run: "RunFolder", as_json: bool) -> None:
    """Of a job that was handed to a cluster and left there."""
    if as_json:
        print_json({"schema_version": 1, "run_id": run.run_id, "run_folder": run.storage.where()})
    else:
        click.echo(run.run_id)


def _show_plan(checked: "Submission", request: "JobRequest | None", as_json: bool) -> None:
    """The resolved spec and what would run; nothing is written."""
    plan = checked.plan()
    if request:
        plan["request"] = request.to_json()
    if as_json:
        print_json(
            {"schema_version": 1, "spec": checked.spec.model_dump(mode="json"), "plan": plan}
        )
        return
    click.echo(checked.spec.to_yaml(), nl=False)
    click.echo("# plan")
    for line in _yaml_lines(plan):
        click.echo(f"#   {line}")
    for warning in checked.warnings():
        click.echo(f"warning: {warning}", err=True)


def _yaml_lines(content: Any) -> list[str]:
    import yaml

    return yaml.safe_dump(content, sort_keys=False, width=200).splitlines()
