"""What all commands below `rnnjob data import` share: their options, and what they print."""

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

from orchestrator.cli.errors import explained, terminated_as
from orchestrator.cli.options.completion_values import one_of
from orchestrator.cli.options.run import json_option
from orchestrator.cli.output import echo, one_line, print_json

if TYPE_CHECKING:
    from orchestrator.datasets.importing.sequences import Sequences
    from orchestrator.datasets.importing.writer import Written

P = ParamSpec("P")
R = TypeVar("R")
_SPLITS = ("train", "validation", "test")


def output_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add --output, --split, --force and --json, and print errors as two lines."""
    for option in (
        json_option,
        click.option("--force", is_flag=True, help="Replace the file if it exists."),
        click.option(
            "--split",
            metavar="NAME",
            type=click.Choice(_SPLITS),
            shell_complete=one_of(*_SPLITS),
            help="Split that all sequences belong to: train, validation or test. It is written to "
            "the column split.",
        ),
        click.option(
            "-o",
            "--output",
            metavar="URI",
            help="Parquet file to write: a path, or a URI that pyarrow can open.  "
            "[default: the name of the first file, with .parquet, in this folder]",
        ),
        explained,
    ):
        function = option(function)
    return function


def split_names(value: str | None) -> tuple[str, ...]:
    """Return the names in a value such as `x,y,z`."""
    return tuple(name.strip() for name in (value or "").split(",") if name.strip())


def write(
    read: "Callable[[], Sequences]",
    source: Path,
    output: str | None,
    split: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the sequences that `read` returns, and say what was written. Raises JobError."""
    from orchestrator.datasets.importing.sequences import with_split
    from orchestrator.datasets.importing.writer import write_sequences
    from orchestrator.display.row_progress import RowProgress

    output = output or f"{source.name.partition('.')[0] or 'sequences'}.parquet"
    with terminated_as(KeyboardInterrupt), RowProgress("importing", None) as progress:
        sequences = with_split(read(), split) if split else read()
        written = write_sequences(sequences, output, force, progress.set)
    notes = [*sequences.notes, *_notes(written)]
    next_commands = _next_commands(written, output)
    for note in notes:
        echo(f"note: {one_line(note)}", err=True)
    if as_json:
        content = {**dataclasses.asdict(written), "notes": notes, "next": next_commands}
        print_json({"schema_version": 1, **content})
        return
    print_written(written)
    echo("Next: " + "\n      ".join(next_commands))


def _next_commands(written: "Written", output: str) -> list[str]:
    from orchestrator.datasets.options import EMBEDDING_SIZE

    submit = ["rnnjob", "submit", "--dataset", f"parquet:{output}"]
    if written.columns.keys() - {"id", "inputs", "target", "split"}:
        submit += ["--target", "target"]  # a column that was kept could be it, too
    if "string" in written.columns["inputs"]:
        submit += ["--set", f"model.embedding_size={EMBEDDING_SIZE}"]
    if written.missing_values:
        submit += ["--set", "dataset.missing=zero"]
    return [shlex.join(["rnnjob", "data", "inspect", f"parquet:{output}"]), shlex.join(submit)]


def _notes(written: "Written") -> list[str]:
    """Return what a person should know of the file before training with it."""
    notes = []
    if written.missing_values:
        notes.append(
            f"inputs that are missing or not finite, and are written so: {written.missing_values:,}"
        )
    if "target" not in written.columns:
        notes.append("there is no target; a file to train with needs one: --target")
    elif written.missing_targets:
        notes.append(f"sequences without a target: {written.missing_targets:,}")
    return notes


def print_written(written: "Written") -> None:
    lengths = f"{written.min_length:,} to {written.max_length:,}"
    if written.min_length == written.max_length:
        lengths = f"{written.max_length:,}"
    echo(f"{written.where}: {written.rows:,} sequences of {lengths} time steps")
    for name, kind in written.columns.items():
        features = f": {', '.join(written.features)}" if name == "inputs" else ""
        echo(f"  {name}  {kind}{features if written.features else ''}")
