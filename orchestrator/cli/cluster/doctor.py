"""The command `rnnjob doctor`."""

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.cluster import RequestFlags, address_option, request_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option, storage_option
from orchestrator.cli.output import Styled, echo, one_line, print_json
from orchestrator.runs import DEFAULT_STORAGE

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command("doctor", epilog=example("rnnjob doctor --dataset mnist-sample"))
@storage_option
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    metavar="NAME",
    help="Data set: mnist, fashion-mnist, kmnist or mnist-sample. This command never downloads it.",
)
@click.option(
    "--data-dir",
    envvar="RNNJOB_DATA_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with the data set's idx files.  [env: RNNJOB_DATA_DIR]",
)
@click.option(
    "--num-shards",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Number of shards into which the data set is cut.",
)
@address_option
@request_options
@click.option(
    "--probe/--no-probe",
    default=True,
    help="Run a short job that inspects each node of the cluster.",
)
@json_option
@explained
def doctor_command(
    storage: str | None,
    dataset: str,
    data_dir: Path | None,
    num_shards: int,
    address: str | None,
    requests: RequestFlags,
    probe: bool,
    as_json: bool,
) -> None:
    """Check what a job needs: this machine, storage, data set and cluster.

    The cluster is the one that --address names. A short job lets each of its nodes use the storage
    and report its packages, GPUs, disk and memory. The job leaves nothing behind.

    Each line says ok, or warn or fail with a cure. The exit code is 1 if a check fails, else 0.
    """
    from orchestrator.cluster.connection import given_address
    from orchestrator.doctor.check import FAIL, OK, DoctorOptions
    from orchestrator.doctor.examine import examine

    options = DoctorOptions(
        storage or DEFAULT_STORAGE,
        dataset,
        data_dir,
        num_shards,
        given_address(address),
        requests.parsed_headers(),
        requests.verify,
        probe,
    )
    # A signal is an exception, so that the job and its files are removed, too.
    with terminated_as(KeyboardInterrupt), _without_garbage_collection():
        checks = examine(options)
    failed = [check for check in checks if check.state == FAIL]
    if as_json:
        content = [check.to_json() for check in checks]
        print_json({"schema_version": 1, "ok": not failed, "checks": content})
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            state = Styled(f"{check.state:<5}", _COLOURS[check.state])
            echo(state, f"{check.name:<{width}}  {one_line(check.detail)}")
            if check.state != OK:
                echo(f"{'':<{width + 5}}  Try: {check.cure}")
    if failed:
        raise SystemExit(1)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    """Collect no garbage within this context, and none of what it leaves.

    Torch and Ray are imported to see that they can be, and the process ends soon after. To go
    through their hundreds of thousands of objects again and again took a quarter of its CPU time.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
