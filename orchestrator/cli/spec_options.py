"""The flags that make a spec, for each command that takes one."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from orchestrator.cli.common import storage_option
from orchestrator.cli.completing import datasets, one_of, presets
from workers.errors import InputError

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
    "metric": "training.metric",
    "checkpoint_every": "checkpoint.every_steps",
    "keep_latest": "checkpoint.keep_latest",
    "storage": "storage",
    "name": "name",
    "time": "limits.time",
    "pending_timeout": "limits.pending_timeout",
    "max_failures": "limits.max_failures",
}

# value of --metric: its --mode
_MODES = {"validation_accuracy": "max", "validation_loss": "min"}

_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="A spec in YAML; see --print-config.",
    ),
    click.option(
        "--preset", metavar="NAME", shell_complete=presets, help="Start from 'default' or 'seed'."
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="a.b=v",
        help="Any key of the spec; may be repeated.",
    ),
    click.option(
        "--dataset",
        metavar="NAME",
        shell_complete=datasets,
        help="mnist, fashion-mnist, kmnist or mnist-sample.",
    ),
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
    click.option(
        "--precision",
        metavar="auto|fp32|bf16",
        shell_complete=one_of("auto", "fp32", "bf16"),
        help="Of the model's arithmetic.",
    ),
    click.option(
        "--metric",
        metavar="validation_accuracy|validation_loss",
        shell_complete=one_of(*_MODES),
        help="What makes an epoch the best; its weights are the final ones.",
    ),
    click.option(
        "--mode",
        "metric_mode",
        type=click.Choice(["max", "min"]),
        help="Only checked: max is for validation_accuracy, min for validation_loss.",
    ),
    click.option(
        "--workers",
        "--num-workers",
        metavar="N|MIN:MAX",
        help="Training processes: how fast, never what.",
    ),
    click.option("--cpus-per-worker", type=int, help="Shards that a worker computes at once."),
    click.option("--gpus-per-worker", type=int, help="0 or 1."),
    click.option("--checkpoint-every", type=int, metavar="STEPS", help="Beside each epoch's end."),
    click.option("--keep-latest", type=int, metavar="N", help="Checkpoints, beside the best one."),
    storage_option,
    click.option("-n", "--name", metavar="NAME", help="First part of the run's id."),
    click.option("--run-id", metavar="ID", help="The whole id, instead of one made from the name."),
    click.option("--time", metavar="2h30m", help="Ends the job, with a checkpoint, after so long."),
    click.option("--pending-timeout", metavar="10m", help="Ends a job that cannot start."),
    click.option("--max-failures", type=int, help="Restarts after a lost worker or driver."),
]


def spec_options(function: Callable[P, R]) -> Callable[P, R]:
    """Adds the flags of a spec. The command gets `config`, `preset`, `assignments` and `run_id` by
    name, and the others as `**flags` for `spec_from`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def spec_from(
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    flags: dict[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> "JobSpec":
    """The spec that the flags of the running command ask for. Raises SpecError.

    `defaults`: dotted keys for which the command has defaults of its own.
    """
    from orchestrator.job_spec import build_spec

    keys = dict(flags)
    mode = keys.pop("metric_mode", None)
    by_flag, by_environment = _given(keys)
    lowest = {**(defaults or {}), **by_environment}
    spec = build_spec(preset, config, assignments, by_flag, lowest)
    _check_mode(mode, spec.training.metric)
    return spec


def as_assignments(flags: dict[str, Any]) -> tuple[str, ...]:
    """Those of the flags that were given, as --set takes them; not what comes from the
    environment."""
    by_flag, _ = _given({name: value for name, value in flags.items() if name in _KEYS})
    return tuple(f"{key}={json.dumps(value)}" for key, value in by_flag.items())


def _check_mode(mode: str | None, metric: str) -> None:
    if mode not in (None, _MODES[metric]):
        other = next(name for name in _MODES if name != metric)
        raise InputError(
            f"--mode {mode} contradicts training.metric: {metric} is best at its {_MODES[metric]}",
            f"--mode {_MODES[metric]}, or --metric {other}",
        )


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
