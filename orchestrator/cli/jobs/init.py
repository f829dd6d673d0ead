"""The command `rnnjob init`."""

import shlex
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.errors import explained
from orchestrator.cli.options.completion_values import datasets, presets
from orchestrator.cli.options.example import example
from orchestrator.cli.options.run import json_option
from orchestrator.cli.output import echo, print_json
from workers.errors import DataError, InputError

if TYPE_CHECKING:
    from orchestrator.spec.job_spec import JobSpec


@click.command("init", epilog=example("rnnjob init --dataset mnist-sample --set model.cell=gru"))
@click.option(
    "--dataset",
    metavar="NAME",
    shell_complete=datasets,
    help="Data set: mnist, fashion-mnist, kmnist, mnist-sample, or parquet:URI. Of tables, the "
    "columns are read, too.  [default: mnist]",
)
@click.option(
    "--preset", metavar="NAME", shell_complete=presets, help="Preset whose values are set."
)
@click.option(
    "--set", "assignments", multiple=True, metavar="a.b=v", help="Set a key; may be repeated."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=Path("job.yaml"),
    help="File to write; it must not exist.  [default: job.yaml]",
)
@click.option(
    "--print-schema", is_flag=True, help="Print the JSON schema of a spec, and write no file."
)
@json_option
@explained
def init_command(
    dataset: str | None,
    preset: str | None,
    assignments: tuple[str, ...],
    output: Path,
    print_schema: bool,
    as_json: bool,
) -> None:
    """Write a job.yaml to begin with: every key with its description, the defaults as comments.

    Editors that know YAML schemas complete and check its keys.
    """
    from orchestrator.spec.template import job_template, schema_text

    if print_schema:
        echo(schema_text(), nl=False)
        return
    found = _values_of_tables(dataset, assignments) if dataset else {}
    values = _values(preset, assignments, {"dataset.name": dataset or "mnist", **found})
    command = shlex.join(["rnnjob", "submit", "-c", str(output), "--local"])
    _write_new(output, job_template(values, command))
    if as_json:
        print_json({"schema_version": 1, "file": str(output), "set": values})
        return
    echo(f"wrote {output}", err=True)
    echo(f"look next: {command} --dry-run", err=True)


def _values_of_tables(dataset: str, assignments: tuple[str, ...]) -> dict[str, Any]:
    """Return the keys that tables of the user's own need. Raises DataError if they are refused."""
    from orchestrator.datasets.names import TABLE_PREFIX
    from orchestrator.datasets.options import TableOptions
    from orchestrator.datasets.tables.inspect import inspect_tables
    from orchestrator.spec.tree import parse_assignment
    from orchestrator.spec.validation import validated

    if not dataset.startswith(TABLE_PREFIX):
        return {}
    given = dict(parse_assignment(each) for each in assignments)
    own = {key.removeprefix("dataset."): v for key, v in given.items() if "dataset." in key}
    options = validated(
        TableOptions, {key: own[key] for key in own.keys() & TableOptions.model_fields.keys()}, {}
    )
    content = inspect_tables(dataset.removeprefix(TABLE_PREFIX), options, False)
    for problem in content["problems"][:1]:
        raise DataError(problem["cause"], problem["cure"])
    return dict(content["spec"])


def _values(
    preset: str | None, assignments: tuple[str, ...], first: dict[str, Any]
) -> dict[str, Any]:
    """Return the values to write, by dotted key: `first`, and those that are no defaults.

    Raises SpecError.
    """
    from orchestrator.spec.build import build_spec
    from orchestrator.spec.job_spec import JobSpec
    from orchestrator.spec.tree import parse_assignment

    spec = build_spec(preset, assignments=assignments, flags=first)
    whole, defaults = _flat(spec), _flat(JobSpec())
    given = {*first, *(parse_assignment(each)[0] for each in assignments)}
    named = {key for key in whole if key in given}
    return {
        key: value
        for key, value in whole.items()
        if key in named or (value != defaults.get(key) and key != "name")
    }


def _flat(spec: "JobSpec") -> dict[str, Any]:
    """Return the value of each key of a spec, which may be a mapping, and of no section."""
    from orchestrator.spec.job_spec import JobSpec
    from orchestrator.spec.validation import dotted_keys

    tree, keys = spec.model_dump(mode="json"), dotted_keys(JobSpec)
    sections = {key.rpartition(".")[0] for key in keys}
    return {key: reduce(getitem, key.split("."), tree) for key in keys if key not in sections}


def _write_new(file: Path, text: str) -> None:
    """Write a file that must not exist. Raises InputError."""
    try:
        with file.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise InputError(
            f"{file} exists already", "name another file: -o FILE, or remove that one"
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot write {file}: {error.strerror}", "name another file: -o FILE"
        ) from error
