"""rnnjob submit"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from orchestrator.cli.common import (
    explained,
    json_option,
    print_json,
    storage_option,
)
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.submission import Submission

# flag: key of the spec
_KEYS = {
    "dataset": "dataset.name",
    "data_dir": "dataset.data_dir",
    "epochs": "training.epochs",
    "batch_size": "training.global_batch_size",
    "lr": "training.optimizer.lr",
    "seed": "training.seed",
    "precision": "training.precision",
    "workers": "scaling.workers",
    "cpus_per_worker": "scaling.cpus_per_worker",
    "gpus_per_worker": "scaling.gpus_per_worker",
    "checkpoint_every": "checkpoint.every_steps",
    "storage": "storage",
    "name": "name",
    "time": "limits.time",
    "pending_timeout": "limits.pending_timeout",
    "max_failures": "limits.max_failures",
}


@click.command("submit")
@click.option("--local", is_flag=True, help="Train in this process, without Ray.")
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A spec in YAML; see --print-config.",
)
@click.option("--preset", metavar="NAME", help="Start from 'default' or 'seed'.")
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="a.b=v",
    help="Any key of the spec; may be repeated.",
)
@click.option("--dataset", metavar="NAME", help="mnist, fashion-mnist, kmnist or mnist-sample.")
@click.option(
    "--data-dir",
    envvar="RNNJOB_DATA_DIR",
    metavar="DIR",
    help="Folder with idx files; without it they are downloaded.  [env: RNNJOB_DATA_DIR]",
)
@click.option("--epochs", type=int, help="Passes over the training rows.")
@click.option("--batch-size", type=int, help="Rows of a step, over all workers.")
@click.option("--lr", type=float, help="Peak learning rate.")
@click.option("--seed", type=int, help="Of everything random.")
@click.option("--precision", metavar="auto|fp32|bf16", help="Of the model's arithmetic.")
@click.option(
    "--workers",
    "--num-workers",
    metavar="N|MIN:MAX",
    help="Training processes: how fast, never what.",
)
@click.option("--cpus-per-worker", type=int, help="Shards that a worker computes at once.")
@click.option("--gpus-per-worker", type=float, help="GPUs of each worker.")
@click.option("--checkpoint-every", type=int, metavar="STEPS", help="Beside each epoch's end.")
@storage_option
@click.option("-n", "--name", help="First part of the run's id.")
@click.option("--run-id", metavar="ID", help="The whole id, instead of one made from the name.")
@click.option("--time", metavar="2h30m", help="Ends the job, with a checkpoint, after so long.")
@click.option("--pending-timeout", metavar="10m", help="Ends a job that cannot start.")
@click.option("--max-failures", type=int, help="Restarts after a lost worker.")
@click.option("--dry-run", is_flag=True, help="Show the resolved spec and the plan; start nothing.")
@click.option(
    "--print-config", is_flag=True, help="Print the resolved spec as YAML; start nothing."
)
@json_option
@click.option("-q", "--quiet", is_flag=True, help="Print the run's id and nothing else.")
@click.option("-v", "--verbose", is_flag=True, help="Ray's own output, and tracebacks.")
@explained
def submit_command(
    local: bool,
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    run_id: str | None,
    dry_run: bool,
    print_config: bool,
    as_json: bool,
    quiet: bool,
    verbose: bool,
    **flags: Any,
) -> None:
    """Train a job and report its accuracy on the test split.

    Flags win over --set, that over the file, that over the preset. The job decides the result,
    the workers only the speed: its weights are the same, bit for bit, on any number of workers.
    """
    from orchestrator import job_spec, submission
    from orchestrator.cli.running import run_to_end

    if local and flags["workers"] is not None:
        raise InputError(
            "--local is one process and takes no --workers", "leave one of the two out"
        )
    spec = job_spec.build_spec(preset, config, assignments, *_given(flags))
    if print_config:
        click.echo(spec.to_yaml(), nl=False)
        return
    checked = submission.check(spec, "local" if local else "ray", run_id)
    if dry_run:
        _show_plan(checked, as_json)
        return
    run_to_end(checked.create_run(), checked, as_json=as_json, quiet=quiet, verbose=verbose)


def _given(flags: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spec keys given as flags, and those given by environment variables."""
    context = click.get_current_context()
    by_flag: dict[str, Any] = {}
    by_environment: dict[str, Any] = {}
    for name, value in flags.items():
        if value is not None:
            from_environment = context.get_parameter_source(name) == ParameterSource.ENVIRONMENT
            (by_environment if from_environment else by_flag)[_KEYS[name]] = value
    return by_flag, by_environment


def _show_plan(checked: "Submission", as_json: bool) -> None:
    """The resolved spec and what would run; nothing is written."""
    plan = checked.plan()
    if as_json:
        print_json({"spec": checked.spec.model_dump(mode="json"), "plan": plan})
        return
    click.echo(checked.spec.to_yaml(), nl=False)
    click.echo("# plan")
    for name, value in plan.items():
        click.echo(f"#   {name}: {value}")
    for warning in checked.warnings():
        click.echo(f"warning: {warning}", err=True)
