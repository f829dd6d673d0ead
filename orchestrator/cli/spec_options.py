"""The flags that make a spec, for each command that takes one."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from orchestrator.cli.common import storage_option

if TYPE_CHECKING:
    from orchestrator.job_spec import JobSpec

P = ParamSpec("P")
R = TypeVar("R")

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

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A spec in YAML; see --print-config.",
    ),
    click.option("--preset", metavar="NAME", help="Start from 'default' or 'seed'."),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="a.b=v",
        help="Any key of the spec; may be repeated.",
    ),
    click.option("--dataset", metavar="NAME", help="mnist, fashion-mnist, kmnist or mnist-sample."),
    click.option(
        "--data-dir",
        envvar="RNNJOB_DATA_DIR",
        metavar="DIR",
        help="Folder with idx files; without it they are downloaded.  [env: RNNJOB_DATA_DIR]",
    ),
    click.option("--epochs", type=int, help="Passes over the training rows."),
    click.option("--batch-size", type=int, help="Rows of a step, over all workers."),
    click.option("--lr", type=float, help="Peak learning rate."),
    click.option("--seed", type=int, help="Of everything random."),
    click.option("--precision", metavar="auto|fp32|bf16", help="Of the model's arithmetic."),
    click.option(
        "--workers",
        "--num-workers",
        metavar="N|MIN:MAX",
        help="Training processes: how fast, never what.",
    ),
    click.option("--cpus-per-worker", type=int, help="Shards that a worker computes at once."),
    click.option("--gpus-per-worker", type=int, help="0 or 1."),
    click.option("--checkpoint-every", type=int, metavar="STEPS", help="Beside each epoch's end."),
    storage_option,
    click.option("-n", "--name", help="First part of the run's id."),
    click.option("--run-id", metavar="ID", help="The whole id, instead of one made from the name."),
    click.option("--time", metavar="2h30m", help="Ends the job, with a checkpoint, after so long."),
    click.option("--pending-timeout", metavar="10m", help="Ends a job that cannot start."),
    click.option("--max-failures", type=int, help="Restarts after a lost worker."),
]


def spec_options(function: Callable[P, R]) -> Callable[P, R]:
    """Adds the flags of a spec. The command gets `config`, `preset`, `assignments` and `run_id` by
    name, and the others as `**flags` for `spec_from`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def spec_from(
    config: Path | None, preset: str | None, assignments: tuple[str, ...], flags: dict[str, Any]
) -> "JobSpec":
    """The spec that the flags of the running command ask for. Raises SpecError."""
    from orchestrator.job_spec import build_spec

    return build_spec(preset, config, assignments, *_given(flags))


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
