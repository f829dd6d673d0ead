"""rnnjob drill"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.cluster_options import (
    address_option,
    headers_from,
    request_options,
    shipping_from,
    shipping_options,
)
from orchestrator.cli.common import explained, json_option, print_json, terminated_as
from orchestrator.cli.spec_options import spec_from, spec_options
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.drill.run import Report

_NODES, _CPUS_PER_NODE = 3, 1


@click.command("drill")
@click.option("--local", is_flag=True, help="One process without Ray: faults driver and storage.")
@address_option
@request_options
@click.option(
    "--faults",
    metavar="KIND,...",
    help="worker, node, driver, storage, resize.  [default: all; on --address all but node]",
)
@click.option(
    "--num-faults", type=click.IntRange(min=1), default=3, show_default=True, help="How many."
)
@click.option(
    "--nodes", type=click.IntRange(min=1), help=f"Of the drill's own cluster.  [default: {_NODES}]"
)
@click.option(
    "--cpus-per-node",
    type=click.IntRange(min=1),
    help=f"Of each of them.  [default: {_CPUS_PER_NODE}]",
)
@click.option(
    "--undisturbed",
    type=click.Choice(["here", "cluster"]),
    help="Where the undisturbed run is.  [default: here; with --address the cluster]",
)
@shipping_options
@spec_options
@json_option
@click.option("-q", "--quiet", is_flag=True, help="The tables only, nothing while it goes on.")
@click.option("-v", "--verbose", is_flag=True, help="Tracebacks.")
@explained
def drill_command(
    local: bool,
    address: str | None,
    headers: str | None,
    verify: bool,
    faults: str | None,
    num_faults: int,
    nodes: int | None,
    cpus_per_node: int | None,
    undisturbed: str | None,
    working_dir: Path | None,
    env: tuple[str, ...],
    env_file: Path | None,
    secret: tuple[str, ...],
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Prove on your own cluster or machine that nothing is lost when something fails.

    A short job runs undisturbed, then again with faults: a worker, a node or the driver is killed,
    the newest checkpoint damaged, the number of workers changed. When, and which of them, is drawn
    from --seed, which is the job's, too. Then the two runs are compared: weights, loss of every
    step, rows of every epoch.

    Where: on a cluster of its own on this machine, which is gone afterwards; on that of --address;
    or in one process (--local). The two runs stay in the storage.

    Exit code 0: all is equal. 1: something differs, or no fault could be injected.
    """
    from orchestrator.client import Client
    from orchestrator.cluster.connection import given_address
    from orchestrator.drill import places
    from orchestrator.drill.job import DEFAULTS, settle

    where = None if local else given_address(address)
    own = {"--nodes": nodes, "--cpus-per-node": cpus_per_node}
    remote = {"--address": address, "--workers": flags["workers"], "--undisturbed": undisturbed}
    _refuse("with --local", {**own, **remote} if local else {})
    _refuse(f"with the cluster {where}, which is there", own if where else {})
    kinds = _kinds(faults, local, where)
    spec = spec_from(config, preset, assignments, flags, DEFAULTS)
    shipping = shipping_from(
        working_dir, env, env_file, secret, None if local else where or "its own"
    )
    note = _silent if quiet else _narrate
    with terminated_as(KeyboardInterrupt):
        drill, spec = settle(spec, run_id, kinds, num_faults)
        if local:
            report = places.in_processes(drill, spec, note)
        elif where is not None:
            client = Client(spec.storage, where, verify, headers_from(headers))
            there = undisturbed != "here"
            report = places.on_cluster(drill, spec, client, where, shipping, note, there)
        else:
            size = nodes or _NODES, cpus_per_node or _CPUS_PER_NODE
            there = undisturbed == "cluster"
            with places.own_cluster(spec, *size, note) as name:
                client = Client(spec.storage, name)
                report = places.on_cluster(drill, spec, client, name, shipping, note, there)
    _show(report, as_json)
    sys.exit(0 if report.equal else 1)


def _refuse(where: str, options: dict[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} means nothing {where}", "leave one of the two out")


def _kinds(text: str | None, local: bool, address: str | None) -> tuple[str, ...]:
    """On a cluster of others a node is killed only where that was asked for."""
    from orchestrator.drill.plan import KINDS, NODE, parse_kinds
    from orchestrator.drill.process_stage import KINDS as OF_A_PROCESS

    if text is None:
        spared = (NODE,) if address else ()
        return OF_A_PROCESS if local else tuple(kind for kind in KINDS if kind not in spared)
    kinds = parse_kinds(text)
    if local and (none := [kind for kind in kinds if kind not in OF_A_PROCESS]):
        raise InputError(
            f"--faults {none[0]} means nothing with --local, which is one process",
            f"take {' and '.join(OF_A_PROCESS)}, or leave --local out",
        )
    return kinds


def _narrate(text: str) -> None:
    click.echo(text, err=True)


def _silent(_: str) -> None:
    pass


def _show(report: "Report", as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    from orchestrator.cli.view import plain_console
    from orchestrator.drill.tables import tables

    console = plain_console()
    for table in tables(report):
        console.print(table)
    verdict = "nothing was lost" if report.equal else "the two runs are not the same"
    console.print(verdict, style="bold green" if report.equal else "bold red")
