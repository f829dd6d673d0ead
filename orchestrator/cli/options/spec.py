"""The flags that make up a spec, for each command that takes a spec."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click
from click.core import ParameterSource

from orchestrator.cli.options.completion_values import datasets, one_of, presets
from orchestrator.cli.options.run import storage_option
from workers.errors import InputError

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec

P = ParamSpec("P")
R = TypeVar("R")

# name of the flag's parameter: dotted key of the spec
_KEYS = {
    "dataset": "dataset.name",
    "data_dir": "dataset.data_dir",
    "model": "model.class_path",
    "inputs": "dataset.inputs",
    "target": "dataset.target",
    "task": "dataset.task",
    "validation": "dataset.validation",
    "test": "dataset.test",
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

# value of --metric: the only --mode that fits it
_MODES = {"validation_accuracy": "max", "validation_loss": "min"}


def gpus_per_worker_option(default: str = "") -> Callable[[Any], Any]:
    """Return the flag. `default`: what the help says of it, if it is not the spec's."""
    help_text = "GPU of one worker: 0, 1, or less, such as 0.5, for workers that share one."
    if default:
        help_text += f"  [default: {default}]"
    return click.option("--gpus-per-worker", type=float, metavar="SHARE", help=help_text)


_WORKERS = click.option(
    "--workers",
    "--num-workers",
    metavar="N|MIN:MAX",
    help="Number of training processes, or a range MIN:MAX. It decides how fast the job runs, "
    "not its result.",
)
_OPTIONS: list[Callable[[Any], Any]] = [
    click.option(
        "-c",
        "--config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="YAML file with a spec; `rnnjob submit --print-config` prints one.",
    ),
    click.option(
        "--preset",
        metavar="NAME",
        shell_complete=presets,
        help="Preset to start from: 'default', 'seed', 'best' or 'pixels'.",
    ),
    click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="a.b=v",
        help="Set any key of the spec; may be repeated.",
    ),
    click.option(
        "--dataset",
        metavar="NAME",
        shell_complete=datasets,
        help="Data set: mnist, fashion-mnist, kmnist, mnist-sample, or parquet:URI for your own "
        "sequences in a file, a folder, or files that match a pattern.",
    ),
    click.option(
        "--inputs",
        metavar="COLUMN[,COLUMN...]",
        help="Column with the sequences, or columns with one feature each, of your own tables.  "
        "[default: the only one that can be it]",
    ),
    click.option(
        "--target",
        metavar="COLUMN",
        help="Column to predict.  [default: the only one that can be it]",
    ),
    click.option(
        "--task",
        metavar="auto|classification|regression",
        shell_complete=one_of("auto", "classification", "regression"),
        help="Whether the target is a class or a number.  [default: auto, by its type]",
    ),
    click.option(
        "--validation", metavar="URI", help="Tables with the validation rows, if they are separate."
    ),
    click.option("--test", metavar="URI", help="Tables with the test rows, if they are separate."),
    click.option(
        "--data-dir",
        envvar="RNNJOB_DATA_DIR",
        metavar="DIR",
        help="Folder with the data set's idx files. Without it, they are downloaded.  "
        "[env: RNNJOB_DATA_DIR]",
    ),
    click.option(
        "--model",
        metavar="FILE.py:NAME",
        help="Function or class that makes a model of your own, in a file, or in a package: "
        "package.module:NAME. Its arguments: --set model.init_args.NAME=VALUE.",
    ),
    click.option("--epochs", type=int, help="Number of passes over the training rows."),
    click.option("--batch-size", type=int, help="Rows of one step, summed over all workers."),
    click.option("--lr", type=float, help="Peak learning rate."),
    click.option("--seed", type=int, help="Seed of all random numbers."),
    click.option(
        "--precision",
        metavar="auto|fp32|bf16",
        shell_complete=one_of("auto", "fp32", "bf16"),
        help="Precision of the model's arithmetic.",
    ),
    click.option(
        "--metric",
        metavar="validation_accuracy|validation_loss",
        shell_complete=one_of(*_MODES),
        help="Metric that selects the best epoch, whose weights become the final ones.",
    ),
    click.option(
        "--mode",
        "metric_mode",
        type=click.Choice(["max", "min"]),
        help="Whether the metric is maximized or minimized: max for validation_accuracy, and min "
        "for validation_loss.",
    ),
    _WORKERS,
    click.option(
        "--cpus-per-worker",
        type=int,
        help="CPUs of one worker, which computes that many shards at the same time. Without it, "
        "the workers share those of this machine, or what the nodes of a cluster have free; with "
        "MIN:MAX workers or a GPU, each has one there.",
    ),
    gpus_per_worker_option(),
    click.option(
        "--checkpoint-every",
        type=int,
        metavar="STEPS",
        help="Write a checkpoint every STEPS steps, in addition to the one at each epoch's end.",
    ),
    click.option(
        "--keep-latest",
        type=int,
        metavar="N",
        help="Number of the latest checkpoints to keep, in addition to the best one.",
    ),
    storage_option,
    click.option(
        "-n",
        "--name",
        metavar="NAME",
        help="Name of the job, which is the first part of the run's id.",
    ),
    click.option(
        "--run-id", metavar="ID", help="Whole id of the run, instead of one made from the name."
    ),
    click.option(
        "--time",
        metavar="2h30m",
        help="Time limit. When it is reached, the job writes a checkpoint and ends.",
    ),
    click.option(
        "--pending-timeout",
        metavar="10m",
        help="End the job if its resources are not available within this time.",
    ),
    click.option(
        "--max-failures",
        type=int,
        help="Maximum number of restarts after a worker or the driver is lost.",
    ),
]


def spec_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add the flags that make up a spec.

    The command gets `config`, `preset`, `assignments` and `run_id` by name. It gets the others as
    `**flags`, and passes them to `spec_from`.
    """
    return _with_options(function, _OPTIONS)


def spec_options_with(workers: Callable[[Any], Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator like `spec_options`, with a command's own option in place of --workers.

    The value of that option is not for `spec_from`.
    """
    options = [workers if option is _WORKERS else option for option in _OPTIONS]
    return lambda function: _with_options(function, options)


def _with_options(
    function: Callable[P, R], options: Sequence[Callable[[Any], Any]]
) -> Callable[P, R]:
    for option in reversed(options):
        function = option(function)
    return function


def spec_from(
    config: Path | None,
    preset: str | None,
    assignments: tuple[str, ...],
    flags: dict[str, Any],
    defaults: Mapping[str, Any] | None = None,
) -> "JobSpec":
    """Build the spec from the flags of the running command. Raises InputError.

    `defaults`: dotted keys for which the command has its own default values.
    """
    from orchestrator.spec.build import build_spec

    keys = dict(flags)
    mode = keys.pop("metric_mode", None)
    by_flag, by_environment = _split_by_source(keys)
    fallbacks = {**(defaults or {}), **by_environment}
    spec = build_spec(preset, config, assignments, by_flag, fallbacks)
    if mode and spec.training.metric == "auto":
        metric = next(metric for metric, best in _MODES.items() if best == mode)
        return spec.with_values({"training.metric": metric})
    _check_mode(mode, spec.training.metric)
    return spec


def as_assignments(flags: dict[str, Any]) -> tuple[str, ...]:
    """Return the given flags in the form that --set takes. Values that come from the environment
    are left out."""
    by_flag, _ = _split_by_source({name: value for name, value in flags.items() if name in _KEYS})
    return tuple(f"{key}={json.dumps(value)}" for key, value in by_flag.items())


def _check_mode(mode: str | None, metric: str) -> None:
    if mode and mode != _MODES[metric]:
        other = next(name for name in _MODES if name != metric)
        raise InputError(
            f"--mode {mode} contradicts training.metric: {metric} is best at its {_MODES[metric]}",
            f"use --mode {_MODES[metric]}, or --metric {other}",
        )


def _split_by_source(flags: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the spec keys given by flags, and those given by environment variables."""
    context = click.get_current_context()
    by_flag: dict[str, Any] = {}
    by_environment: dict[str, Any] = {}
    for name, value in flags.items():
        if value is not None:
            from_environment = context.get_parameter_source(name) == ParameterSource.ENVIRONMENT
            (by_environment if from_environment else by_flag)[_KEYS[name]] = value
    return by_flag, by_environment
