"""The command `rnnjob resume`."""

from typing import Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.cluster import RequestFlags, ShippingFlags, cluster_options
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import (
    json_option,
    run_argument,
    storage_option,
    trust_code_option,
    verbose_option,
)
from orchestrator.cli.options.spec import gpus_per_worker_option


@click.command("resume", epilog=example("rnnjob resume @last --set training.epochs=8"))
@run_argument
@storage_option
@click.option("--local", is_flag=True, help="Continue in this process, without Ray.")
@click.option(
    "--workers",
    "--num-workers",
    metavar="N|MIN:MAX",
    help="Number of training processes to continue with, or a range MIN:MAX.",
)
@click.option(
    "--cpus-per-worker",
    type=int,
    help="CPUs of one worker, which computes that many shards at the same time.",
)
@gpus_per_worker_option()
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="a.b=v",
    help="Set a key of the spec that does not decide the result, or raise training.epochs to train "
    "the run beyond its end; may be repeated.",
)
@trust_code_option
@cluster_options
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print only the run's id.")
@verbose_option
@explained
def resume_command(
    run_name: str,
    storage: str | None,
    local: bool,
    workers: str | None,
    cpus_per_worker: int | None,
    gpus_per_worker: float | None,
    assignments: tuple[str, ...],
    trust_code: bool,
    address: str | None,
    requests: RequestFlags,
    no_wait: bool,
    sent: ShippingFlags,
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Continue a run from its last checkpoint, wherever it ran before.

    The run continues in this process (--local) or on the cluster that --address names. Otherwise it
    continues as it ran before; if that was on a cluster, then on that cluster. The result is the
    same, bit for bit, as that of an undisturbed run.

    RUN: an id, a unique prefix, or @last.
    """
    from orchestrator.cli.options.destination import check_destination, launcher_for
    from orchestrator.cli.run_to_end import run_to_end, start_and_leave
    from orchestrator.launch.destination import where_to_resume
    from orchestrator.launch.resumption import check_resumption

    observer = requests.client(storage, None if local else address).observe(run_name)
    run = observer.run
    mode, cluster = where_to_resume(run, local, workers is not None, address)
    check_destination(local, workers, cluster, no_wait, address)
    shipping = sent.shipping(cluster)
    values = _values(assignments, workers, cpus_per_worker, gpus_per_worker)
    launcher = launcher_for(
        mode,
        cluster,
        storage=run.storage.parent_uri,
        shipping=shipping,
        requests=requests,
        verbose=verbose,
    )
    job = check_resumption(run, observer.status(), launcher, values, trust_code)
    if no_wait:
        start_and_leave(job, as_json, quiet=quiet)
    else:
        run_to_end(job, as_json=as_json, quiet=quiet, verbose=verbose)


def _values(
    assignments: tuple[str, ...],
    workers: str | None,
    cpus_per_worker: int | None,
    gpus_per_worker: float | None,
) -> dict[str, Any]:
    """Return the keys of the spec to change. Flags win over --set. Raises SpecError."""
    from orchestrator.spec.tree import parse_assignment

    flags = {
        "scaling.workers": workers,
        "scaling.cpus_per_worker": cpus_per_worker,
        "scaling.gpus_per_worker": gpus_per_worker,
    }
    given = {key: value for key, value in flags.items() if value is not None}
    return {**dict(map(parse_assignment, assignments)), **given}
