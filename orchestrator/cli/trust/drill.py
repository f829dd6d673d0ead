"""The command `rnnjob drill`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.cluster import (
    RequestFlags,
    ShippingFlags,
    address_option,
    request_options,
    shipping_options,
)
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option
from orchestrator.cli.options.spec import spec_from, spec_options
from orchestrator.cli.output import echo, print_json
from workers.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.drill.outcomes import FaultOutcome
    from orchestrator.drill.run import Report

_NODES, _CPUS_PER_NODE = 3, 1


@click.command("drill", epilog=example("rnnjob drill --local --seed 7"))
@click.option(
    "--local",
    is_flag=True,
    help="Run in one process, without Ray. Only the faults driver, storage and suspend "
    "are possible then.",
)
@address_option
@request_options
@click.option(
    "--faults",
    metavar="KIND,...",
    help="Faults to inject: worker, node, driver, storage, resize, suspend, supervisor.  "
    "[default: all; on --address all but node]",
)
@click.option(
    "--num-faults",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of faults to inject.",
)
@click.option(
    "--nodes",
    type=click.IntRange(min=1),
    help=f"Number of nodes of the drill's own cluster.  [default: {_NODES}]",
)
@click.option(
    "--cpus-per-node",
    type=click.IntRange(min=1),
    help=f"CPUs of each node of the drill's own cluster.  [default: {_CPUS_PER_NODE}]",
)
@click.option(
    "--undisturbed",
    type=click.Choice(["here", "cluster"]),
    help="Where the undisturbed run trains: in one process on this machine, or on the cluster.  "
    "[default: here; with --address the cluster]",
)
@shipping_options
@spec_options
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the tables, and no progress.")
@click.option("-v", "--verbose", is_flag=True, help="Print the tracebacks of errors.")
@explained
def drill_command(
    local: bool,
    address: str | None,
    requests: RequestFlags,
    faults: str | None,
    num_faults: int,
    nodes: int | None,
    cpus_per_node: int | None,
    undisturbed: str | None,
    sent: ShippingFlags,
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Check on your own cluster or machine that nothing is lost when something fails.

    A short job runs twice: undisturbed, then with faults. A fault kills a worker, a node, the
    driver or what keeps it running, suspends a worker for 20 s, damages the newest checkpoint, or
    changes the number of workers. --seed, which is also the job's seed, decides when each fault
    strikes and what it hits. Then the drill compares the weights, the loss of every step and the
    rows of every epoch of the two runs.

    The drill starts its own cluster on this machine and removes it afterwards. It can also run on
    the cluster that --address names, or in one process (--local). Both runs stay in the storage.

    Exit code 0: everything is equal. 1: something differs, or no fault could be injected.
    """
    from orchestrator.client import Client
    from orchestrator.cluster.connection import given_address
    from orchestrator.drill import setup

    cluster = None if local else given_address(address)
    for_own_cluster = {"--nodes": nodes, "--cpus-per-node": cpus_per_node}
    for_any_cluster = {
        "--address": address,
        "--workers": flags["workers"],
        "--undisturbed": undisturbed,
    }
    _refuse("with --local", {**for_own_cluster, **for_any_cluster} if local else {})
    _refuse(f"with the existing cluster {cluster}", for_own_cluster if cluster else {})
    kinds = _kinds(faults, local, cluster)
    if flags.get("model"):
        raise InputError(
            "a drill is of the job alone and takes no model of your own", "leave --model out"
        )
    spec = spec_from(config, preset, assignments, flags, setup.DEFAULTS)
    shipping = sent.shipping(None if local else cluster or "its own")
    note = _silent if quiet else _narrate
    with terminated_as(KeyboardInterrupt):
        drill, spec = setup.plan_drill(spec, run_id, kinds, num_faults)
        if local:
            report = setup.in_processes(drill, spec, note)
        elif cluster is not None:
            client = requests.client(spec.storage, cluster)
            on_cluster = undisturbed != "here"
            report = setup.on_cluster(drill, spec, client, cluster, shipping, note, on_cluster)
        else:
            size = nodes or _NODES, cpus_per_node or _CPUS_PER_NODE
            on_cluster = undisturbed == "cluster"
            with setup.own_cluster(spec, *size, note) as name:
                client = Client(spec.storage, name)
                report = setup.on_cluster(drill, spec, client, name, shipping, note, on_cluster)
    _show(report, as_json)
    sys.exit(0 if report.equal else 1)


def _refuse(context: str, options: dict[str, Any]) -> None:
    """Raise InputError if one of the options was given."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise InputError(f"{given[0]} cannot be used {context}", "leave one of the two out")


def _kinds(text: str | None, local: bool, address: str | None) -> tuple[str, ...]:
    """Return the kinds of faults to inject. On an existing cluster, a node is killed only if the
    user asks for it."""
    from orchestrator.drill.fault_schedule import KINDS, NODE, parse_kinds
    from orchestrator.drill.process_stage import KINDS as PROCESS_KINDS

    if text is None:
        excluded = (NODE,) if address else ()
        return PROCESS_KINDS if local else tuple(kind for kind in KINDS if kind not in excluded)
    kinds = parse_kinds(text)
    if local and (impossible := [kind for kind in kinds if kind not in PROCESS_KINDS]):
        raise InputError(
            f"--faults {impossible[0]} cannot be used with --local, which is one process",
            f"use {' and '.join(PROCESS_KINDS)}, or leave out --local",
        )
    return kinds


def _narrate(text: str) -> None:
    echo(text, err=True)


def _silent(_: str) -> None:
    pass


def _show(report: "Report", as_json: bool) -> None:
    if as_json:
        print_json(report.to_json())
        return
    from orchestrator.cli.console import plain_console

    console = plain_console()
    for table in _tables(report):
        console.print(table)
    verdict = "nothing was lost" if report.equal else "the two runs are not the same"
    console.print(verdict, style="bold green" if report.equal else "bold red")


def _tables(report: "Report") -> "list[Table]":
    """Return two tables: the faults, and the checks."""
    faults = _table("FAULT", "STEP", "OUTCOME", "RESUMED FROM", "REPEATED", "TIME LOST", "")
    for fault in report.faults:
        faults.add_row(*_cells(fault))
    checks = _table("CHECK", "", "UNDISTURBED", "DISTURBED")
    for check in report.checks:
        verdict = "ok" if check.ok else "DIFFERS"
        checks.add_row(check.name, verdict, check.undisturbed, check.disturbed)
    return [faults, checks]


def _table(*columns: str) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=bool(column))
    return table


def _cells(fault: "FaultOutcome") -> list[str]:
    from orchestrator.units import show_duration

    resumed = f"step {fault.resumed_at}" if fault.resumed_at is not None else "-"
    repeated = f"{fault.repeated_steps} steps" if fault.repeated_steps is not None else "-"
    lost = show_duration(fault.lost_s) if fault.lost_s is not None else "-"
    detail = fault.note or fault.target
    return [fault.kind, str(fault.step), fault.outcome, resumed, repeated, lost, detail]
