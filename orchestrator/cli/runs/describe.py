"""The command `rnnjob describe`."""

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import run_options, status_line
from orchestrator.cli.output import Styled, echo, one_line, print_json

if TYPE_CHECKING:
    from orchestrator.observe.observer import Observer
    from orchestrator.runs import RunStatus
    from workers.records.run_folder import RunFolder

_LAST_MESSAGE_LINES = 5


@click.command("describe", epilog=example("rnnjob describe @last --json"))
@run_options
@request_options
@explained
def describe_command(
    run_name: str,
    storage: str | None,
    address: str | None,
    requests: RequestFlags,
    as_json: bool,
) -> None:
    """Print all details of a run: state, spec, provenance, files, and what Ray Jobs reports.

    RUN: an id, a unique prefix, or @last.
    """
    from orchestrator.runs.history import mixed_hardware, restart_lines

    observer = requests.client(storage, address).observe(run_name)
    run, status = observer.run, observer.status()
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
        "restarts": restart_lines(run),
        "mixed_hardware": run.use_metrics(mixed_hardware),
        "cluster": _cluster(observer, status),
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
    """Return the spec as a dict. None if it is damaged: everything else can still be printed."""
    from orchestrator.spec.plan import read_spec
    from orchestrator.spec.tree import SpecError

    try:
        return read_spec(run).model_dump(mode="json")
    except SpecError:
        return None


def _cluster(observer: "Observer", status: "RunStatus") -> dict[str, Any] | None:
    """Return what Ray Jobs reports; None if the run is not on a cluster."""
    if not status.is_on_cluster:
        return None
    observer.ask(status)
    return {
        "address": status.address,
        "reachable": observer.refusal is None,
        "refusal": observer.refusal.cause if observer.refusal else "",
        "cure": observer.refusal.cure if observer.refusal else "",
        "job": observer.job.to_json() if observer.job else None,
    }


def _print(content: dict[str, Any], status: "RunStatus", spec: str) -> None:
    import yaml

    from orchestrator.units import show_bytes

    echo(status_line(status))
    if status.cure:
        echo(f"Try: {one_line(status.cure)}")
    _section("run folder")
    size = f"{content['num_files']} files, {show_bytes(content['num_bytes'])}"
    echo(f"  {content['run_folder']}: {size}\n  {', '.join(content['files'])}")
    for key, title in (("restarts", "restarts"), ("mixed_hardware", "mixed hardware")):
        if content[key]:
            _section(title)
            for line in content[key]:
                echo(f"  {line}")
    if content["cluster"]:
        _section("cluster")
        for line in _cluster_lines(content["cluster"]):
            echo(f"  {line}")
    _section("spec")
    echo(_indented(spec))
    if content["provenance"]:
        _section("provenance")
        echo(_indented(yaml.safe_dump(content["provenance"], sort_keys=False, width=100)))


def _cluster_lines(cluster: dict[str, Any]) -> list[str]:
    lines = [f"address: {cluster['address']}"]
    if not cluster["reachable"]:
        refusal, cure = one_line(cluster["refusal"]), one_line(cluster["cure"])
        return [*lines, f"cannot be asked now: {refusal}", f"Try: {cure}"]
    job = cluster["job"]
    if job is None:
        return [*lines, "it has no record of the job"]
    lines.append("Ray Jobs: " + ", ".join(filter(None, (job["status"], job["error_type"]))))
    if job["driver_exit_code"] is not None:
        lines.append(f"driver's exit code: {job['driver_exit_code']}")
    message = [line for line in job["message"].splitlines() if line.strip()]
    return lines + message[-_LAST_MESSAGE_LINES:]


def _section(name: str) -> None:
    echo("\n", Styled(name, bold=True))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.rstrip().splitlines())
