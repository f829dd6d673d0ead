"""rnnjob doctor"""

from pathlib import Path

import click

from orchestrator.cli.cluster_options import address_option, headers_from, request_options
from orchestrator.cli.common import (
    explained,
    json_option,
    print_json,
    storage_option,
    terminated_as,
)
from orchestrator.runs import DEFAULT_STORAGE

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor")
@storage_option
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    metavar="NAME",
    help="mnist, fashion-mnist, kmnist or mnist-sample; never downloaded by this command.",
)
@click.option(
    "--data-dir",
    envvar="RNNJOB_DATA_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with idx files.  [env: RNNJOB_DATA_DIR]",
)
@click.option(
    "--num-shards",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Of the data set's cut.",
)
@address_option
@request_options
@click.option(
    "--probe/--no-probe",
    default=True,
    help="Have a short job look around on each node of the cluster.",
)
@json_option
@explained
def doctor_command(
    storage: str | None,
    dataset: str,
    data_dir: Path | None,
    num_shards: int,
    address: str | None,
    headers: str | None,
    verify: bool,
    probe: bool,
    as_json: bool,
) -> None:
    """Check what a job needs: this machine, storage, data set, and the cluster of --address.

    On the cluster, a short job has each node use the storage, and tell of its packages, GPUs, disk
    and memory; nothing of it stays.

    Each line is ok, warn or fail, with a cure. Leaves with 1 if anything fails, else with 0.
    """
    from orchestrator.cluster.connection import given_address
    from orchestrator.doctor.check import FAIL, OK, Surroundings
    from orchestrator.doctor.examine import examine

    where = Surroundings(
        storage or DEFAULT_STORAGE,
        dataset,
        data_dir,
        num_shards,
        given_address(address),
        headers_from(headers),
        verify,
        probe,
    )
    with terminated_as(KeyboardInterrupt):  # the job and its files are removed then, too
        checks = examine(where)
    failed = [check for check in checks if check.state == FAIL]
    if as_json:
        found = [check.to_json() for check in checks]
        print_json({"schema_version": 1, "ok": not failed, "checks": found})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            state = click.style(f"{check.state:<5}", fg=_COLOURS[check.state])
            click.echo(f"{state}{check.name:<{width}}  {' '.join(check.detail.split())}")
            if check.state != OK:
                click.echo(f"{'':<{width + 5}}  Try: {check.cure}")
    if failed:
        raise SystemExit(1)
