"""The commands below `rnnjob cluster`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option
from orchestrator.cli.output import echo, print_json
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.cluster.dashboard import Node
    from orchestrator.cluster.local_registry import LocalCluster

_LOCAL = "local"
_FILE = Path("cluster.yaml")
_SUFFIXES = (".yaml", ".yml")
_verbose_option = click.option(
    "-v", "--verbose", is_flag=True, help="Print all of Ray's output, and the tracebacks of errors."
)


@click.group("cluster", epilog=example("rnnjob cluster status"))
def cluster_command() -> None:
    """Start or stop a Ray cluster on this machine, or with Ray's cluster launcher (`ray up`)."""


@cluster_command.command(
    "up", epilog=example("rnnjob cluster up --local --nodes 3 --cpus-per-node 1")
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--local", is_flag=True, help="Start Ray nodes on this machine, to try things out.")
@click.option(
    "--nodes", type=click.IntRange(min=1), help="With --local: number of nodes.  [default: 1]"
)
@click.option(
    "--cpus-per-node",
    type=click.IntRange(min=1),
    help="With --local: CPUs of each node.  [default: 1]",
)
@click.option("--name", help=f"With --local: name of the cluster.  [default: {_LOCAL}]")
@json_option
@_verbose_option
@explained
def up_command(
    file: Path | None,
    local: bool,
    nodes: int | None,
    cpus_per_node: int | None,
    name: str | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Start a cluster from FILE, or on this machine with --local.

    FILE (default: cluster.yaml) is given to `ray up`. The command does not ask first: the machines
    of a cloud cost money until you run rnnjob cluster down FILE.

    With --local, stdout is input for a shell: eval "$(rnnjob cluster up --local --nodes 3)"
    The cluster listens on this machine's loopback interface alone. Its jobs inherit the variables
    of this environment, but no credentials: give a job those with rnnjob submit --secret.
    """
    if not local:
        if nodes or cpus_per_node or name:
            raise InputError(
                "--nodes, --cpus-per-node and --name are for a cluster on this machine",
                "add --local, or leave them to the file",
            )
        _launch("up", file or _FILE, as_json, verbose)
        return
    if file is not None:
        raise InputError(f"--local takes no file: {file}", "leave one of the two out")
    from orchestrator.cluster import local_cluster

    with terminated_as(KeyboardInterrupt):
        cluster = local_cluster.up(
            name or _LOCAL, nodes or 1, cpus_per_node or 1, _narrate, verbose=verbose
        )
    if as_json:
        print_json(_as_json(cluster))
        return
    num, cpus = len(cluster.nodes), cluster.cpus_per_node
    _narrate(f"'{cluster.name}' is up at {cluster.address}: {num} node(s) of {cpus} CPU(s)")
    _print_exports(cluster)
    _narrate(
        f"with these variables set: ray job list; to end it: rnnjob cluster down {cluster.name}"
    )


@cluster_command.command("status", epilog=example("rnnjob cluster status"))
@click.argument("name", default=_LOCAL)
@json_option
@explained
def status_command(name: str, as_json: bool) -> None:
    """Show the nodes of a local cluster.

    Exit code 3: the cluster does not answer. 4: no cluster has this name.
    """
    from orchestrator.cluster import local_cluster

    if name.endswith(_SUFFIXES):
        raise InputError(
            "cluster status is for clusters on this machine",
            f"ray dashboard {name}, then rnnjob doctor --address localhost",
        )
    cluster, nodes = local_cluster.status(name)
    if as_json:
        print_json(_status_json(cluster, nodes))
    else:
        _print_status(cluster, nodes)


@cluster_command.command("down", epilog=example("rnnjob cluster down"))
@click.argument("target", default=_LOCAL, metavar="[NAME|FILE.yaml]")
@json_option
@_verbose_option
@explained
def down_command(target: str, as_json: bool, verbose: bool) -> None:
    """Stop a local cluster (default: local), or the one of FILE.yaml.

    FILE.yaml is given to `ray down`. For a local cluster, the command ends all processes that
    `rnnjob cluster up` and the jobs started, and no others.
    """
    if target.endswith(_SUFFIXES):
        _launch("down", Path(target), as_json, verbose)
        return
    from orchestrator.cluster import local_cluster

    ended = local_cluster.down(target)
    if as_json:
        print_json({"schema_version": 1, "name": ended.name, "ended": ended.num_processes})
    elif ended.num_processes:
        _narrate(f"'{ended.name}' is down: {ended.num_processes} processes ended")
    else:
        _narrate(f"'{ended.name}' had already ended; its remains were removed")


@cluster_command.command("clean", epilog=example("rnnjob cluster clean"))
@json_option
@explained
def clean_command(as_json: bool) -> None:
    """End and remove what jobs on this machine left behind when all their processes were killed.

    That is a Ray of a job that was submitted with --workers, and its folder. Nothing is touched of
    a job that still runs, of a cluster, or of another user.
    """
    from orchestrator.driver.private_ray import find_leftovers, remove

    left = find_leftovers()
    for each in left:
        remove(each.folder)
    if as_json:
        removed = [{"folder": str(e.folder), "processes": len(e.processes)} for e in left]
        print_json({"schema_version": 1, "removed": removed})
    elif not left:
        _narrate("nothing is left behind")
    for each in [] if as_json else left:
        _narrate(f"{each.folder} removed, {len(each.processes)} processes ended")


def _narrate(text: str) -> None:
    echo(text, err=True)


def _launch(verb: str, file: Path, as_json: bool, verbose: bool) -> None:
    from orchestrator.cluster import ray_up

    try:
        ray_up.check(file)
    except click.ClickException as error:  # Ray's validator is part of a Click command line
        raise ray_up.invalid_file(file, error.message) from error
    ray_up.run(verb, file, _narrate, verbose)
    if as_json:
        print_json({"schema_version": 1, "file": str(file), "done": verb})
    elif verb == "up":
        _narrate(f"to open its dashboard at http://localhost:8265: ray dashboard {file}")


def _print_exports(cluster: "LocalCluster") -> None:
    for name, value in cluster.environment.items():
        echo(f"export {name}={value}")


def _as_json(cluster: "LocalCluster") -> dict[str, Any]:
    return {**cluster.to_json(), "environment": cluster.environment}


def _status_json(cluster: "LocalCluster", nodes: list["Node"]) -> dict[str, Any]:
    from dataclasses import asdict

    free = [node.cpus_free for node in nodes if node.is_alive]
    return {
        **_as_json(cluster),
        "age_s": round(time.time() - cluster.created_at, 1),
        "nodes_alive": len(free),
        "nodes_dead": len(nodes) - len(free),
        "cpus_total": sum(node.cpus_total for node in nodes if node.is_alive),
        "cpus_free": None if None in free else sum(cpus or 0.0 for cpus in free),
        "nodes": [asdict(node) for node in nodes],
    }


def _print_status(cluster: "LocalCluster", nodes: list["Node"]) -> None:
    from rich.table import Table

    from orchestrator.cli.console import plain_console
    from orchestrator.cli.output import age

    num_alive = sum(node.is_alive for node in nodes)
    console = plain_console()
    console.print(
        f"'{cluster.name}' at {cluster.address}, {num_alive} of {len(nodes)} nodes alive, "
        f"up for {age(cluster.created_at)}, Ray {cluster.ray_version}, "
        f"Python {cluster.python_version}"
    )
    table = Table(box=None, pad_edge=False)
    for column in ("NODE", "STATE", "CPUS", "FREE", "ID", ""):
        table.add_column(column, no_wrap=column != "")
    for node in nodes:
        table.add_row(
            node.name + (" (head)" if node.is_head else ""),
            "alive" if node.is_alive else "dead",
            f"{node.cpus_total:g}",
            "-" if node.cpus_free is None else f"{node.cpus_free:g}",
            node.node_id[:12],
            node.message,
        )
    console.print(table)
    _print_exports(cluster)
