"""rnnjob resume"""

import click

from orchestrator import runs
from orchestrator.cli.common import explained, json_option, open_storage, storage_option
from workers.errors import InputError


@click.command("resume")
@click.argument("run_name", metavar="RUN")
@storage_option
@click.option("--local", is_flag=True, help="Go on in this process, without Ray.")
@click.option("--workers", "--num-workers", metavar="N|MIN:MAX", help="Go on with so many.")
@click.option("--cpus-per-worker", type=int, help="Shards that a worker computes at once.")
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
    as_json: bool,
    quiet: bool,
    verbose: bool,
) -> None:
    """Take a run up again where its last checkpoint left it, in either mode.

    The result is the one that the undisturbed run would have had, bit for bit.
    """
    from orchestrator import submission
    from orchestrator.cli.running import launcher_here, run_to_end

    if local and workers is not None:
        raise InputError(
            "--local is one process and takes no --workers", "leave one of the two out"
        )
    run = runs.find_run(open_storage(storage), run_name)
    scaling = {"scaling.workers": workers, "scaling.cpus_per_worker": cpus_per_worker}
    again = submission.check_again(
        run, "local" if local else "ray", {k: v for k, v in scaling.items() if v is not None}
    )
    launcher = launcher_here(again.mode, verbose)
    run_to_end(run, again, launcher, as_json=as_json, quiet=quiet, verbose=verbose, is_new=False)
