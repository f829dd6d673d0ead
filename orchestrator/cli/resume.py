"""rnnjob resume"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator import runs
from orchestrator.cli.cluster_options import cluster_options, headers_from, shipping_from
from orchestrator.cli.common import explained, json_option, open_storage, storage_option
from orchestrator.cli.run_options import run_argument

if TYPE_CHECKING:
    from workers.run_folder import RunFolder

_CLUSTER = "cluster"


@click.command("resume")
@run_argument
@storage_option
@click.option("--local", is_flag=True, help="Go on in this process, without Ray.")
@click.option("--workers", "--num-workers", metavar="N|MIN:MAX", help="Go on with so many.")
@click.option("--cpus-per-worker", type=int, help="Shards that a worker computes at once.")
@click.option("--gpus-per-worker", type=int, help="0 or 1.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="a.b=v",
    help="Any key of the spec that does not decide the result, or training.epochs, to train a run "
    "beyond its end; may be repeated.",
)
@cluster_options
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print the run's id and nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Ray's own output, and tracebacks.")
@explained
def resume_command(
    run_name: str,
    storage: str | None,
    local: bool,
    workers: str | None,
    cpus_per_worker: int | None,
    gpus_per_worker: int | None,
    assignments: tuple[str, ...],
    address: str | None,
    headers: str | None,
    verify: bool,
    no_wait: bool,
    working_dir: Path | None,
    env: tuple[str, ...],
    env_file: Path | None,
    secret: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Take a run up again where its last checkpoint left it, wherever it ran before.

    Where it goes on: in this process (--local), on the cluster of --address, else as it ran, on its
    own cluster too. The result is the one that the undisturbed run would have had, bit for bit.

    RUN: an id, a unique prefix, or @last.
    """
    from orchestrator import resumption
    from orchestrator.cli.running import launcher_here, run_to_end
    from orchestrator.cli.submit import check_where, print_id
    from orchestrator.client import Client

    run = runs.find_run(open_storage(storage), run_name)
    mode, where = _where(run, local, workers, address)
    check_where(local, workers, where, no_wait, address)
    shipping = shipping_from(working_dir, env, env_file, secret, where)
    values = _values(assignments, workers, cpus_per_worker, gpus_per_worker)
    if mode != _CLUSTER:
        again = resumption.check_again(run, mode, values)
        launcher = launcher_here(mode, verbose)
        again.create_run()
        run_to_end(run, again, launcher, as_json=as_json, quiet=quiet, verbose=verbose)
    client = Client(run.storage.parent_uri, where, verify, headers_from(headers))
    job = client.check_again(run.run_id, values, shipping)
    if no_wait:
        print_id(job.start(), as_json)
        return
    job.submission.create_run()
    run_to_end(run, job.submission, job.launcher, as_json=as_json, quiet=quiet, verbose=verbose)


def _where(
    run: "RunFolder", local: bool, workers: str | None, address: str | None
) -> tuple[str, str | None]:
    """The mode, and the cluster's address if it is that."""
    from orchestrator.cluster.connection import given_address
    from orchestrator.observer import is_on_a_cluster

    before = runs.read_status(run)
    if local:
        return runs.LOCAL, None
    if where := given_address(address) or (before.address if is_on_a_cluster(before) else None):
        return _CLUSTER, where
    return (runs.LOCAL if before.mode == runs.LOCAL and workers is None else "ray"), None


def _values(
    assignments: tuple[str, ...],
    workers: str | None,
    cpus_per_worker: int | None,
    gpus_per_worker: int | None,
) -> dict[str, Any]:
    """Keys of the spec to change; flags win over --set. Raises SpecError."""
    from orchestrator.spec_tree import parse_assignment

    flags = {
        "scaling.workers": workers,
        "scaling.cpus_per_worker": cpus_per_worker,
        "scaling.gpus_per_worker": gpus_per_worker,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    return {**dict(map(parse_assignment, assignments)), **given}
