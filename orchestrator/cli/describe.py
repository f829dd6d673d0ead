"""rnnjob describe"""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.cluster_options import request_options
from orchestrator.cli.common import explained, one_line, print_json
from orchestrator.cli.run_options import client_for, run_options, status_line

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.runs import RunStatus
    from workers.run_folder import RunFolder

_LAST_MESSAGE_LINES = 5


@click.command("describe")
@run_options
@request_options
@explained
def describe_command(
    run_name: str, storage: str | None, headers: str | None, verify: bool, as_json: bool
) -> None:
    """Tell all that is known of a run: state, spec, provenance, files, and what Ray Jobs says.

    RUN: an id, a unique prefix, or @last.
    """
    from orchestrator.restarts import restarts_of

    client = client_for(storage, headers, verify)
    run = client.get_run(run_name)
    status = client.status(run.run_id)
    spec = _spec_text(run)
    num_files, num_bytes = run.storage.usage()
    content: dict[str, Any] = {
        "schema_version": 1,
        "run_id": run.run_id,
        "run_folder": run.storage.where(),
        "status": status.to_json(),
        "spec": _spec(run),
        "provenance": run.read_json(run.PROVENANCE),
        "files": run.storage.list(),
        "num_files": num_files,
        "num_bytes": num_bytes,
        "restarts": restarts_of(run),
        "cluster": _cluster(client, run, status),
    }
    if as_json:
        print_json(content)
    else:
        _print(content, status, spec)


def _spec_text(run: "RunFolder") -> str:
    try:
        return run.storage.read(run.JOB).decode(errors="backslashreplace")
    except FileNotFoundError:
        return "(missing)"


def _spec(run: "RunFolder") -> dict[str, Any] | None:
    """None where it is damaged: all else can still be told."""
    from orchestrator.plan import read_spec
    from orchestrator.spec_tree import SpecError

    try:
        return read_spec(run).model_dump(mode="json")
    except SpecError:
        return None


def _cluster(client: "Client", run: "RunFolder", status: "RunStatus") -> dict[str, Any] | None:
    """What Ray Jobs says; None of a run that is on no cluster."""
    from orchestrator.observer import is_on_a_cluster

    if not is_on_a_cluster(status):
        return None
    observer = client.observe(run.run_id)
    observer.ask(status.address)
    return {
        "address": status.address,
        "reachable": observer.refusal is None,
        "refusal": observer.refusal.cause if observer.refusal else "",
        "job": observer.job.to_json() if observer.job else None,
    }


def _print(content: dict[str, Any], status: "RunStatus", spec: str) -> None:
    import yaml

    from orchestrator.units import show_bytes

    click.echo(status_line(status))
    if status.cure:
        click.echo(f"Try: {one_line(status.cure)}")
    _section("run folder")
    size = f"{content['num_files']} files, {show_bytes(content['num_bytes'])}"
    click.echo(f"  {content['run_folder']}: {size}\n  {', '.join(content['files'])}")
    if content["restarts"]:
        _section("restarts")
        for line in content["restarts"]:
            click.echo(f"  {line}")
    if content["cluster"]:
        _section("cluster")
        for line in _cluster_lines(content["cluster"]):
            click.echo(f"  {line}")
    _section("spec")
    click.echo(_indented(spec))
    if content["provenance"]:
        _section("provenance")
        click.echo(_indented(yaml.safe_dump(content["provenance"], sort_keys=False, width=100)))


def _cluster_lines(cluster: dict[str, Any]) -> list[str]:
    lines = [f"address: {cluster['address']}"]
    if not cluster["reachable"]:
        return [*lines, f"cannot be asked now: {cluster['refusal']}"]
    job = cluster["job"]
    if job is None:
        return [*lines, "it does not know the job (any more)"]
    lines.append("Ray Jobs: " + ", ".join(filter(None, (job["status"], job["error_type"]))))
    if job["driver_exit_code"] is not None:
        lines.append(f"driver's exit code: {job['driver_exit_code']}")
    message = [line for line in job["message"].splitlines() if line.strip()]
    return lines + message[-_LAST_MESSAGE_LINES:]


def _section(name: str) -> None:
    click.echo(f"\n{click.style(name, bold=True)}")


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())
