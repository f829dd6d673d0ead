"""rnnjob data import npz and idx."""

from pathlib import Path

import click

from orchestrator.cli.data.import_output import output_options, write
from orchestrator.cli.options.example import example


@click.command("npz", epilog=example("rnnjob data import npz arrays.npz --inputs x --target y"))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--inputs",
    metavar="ARRAY",
    help="Array with the sequences: (sequences, steps) or (sequences, steps, features); or, with "
    "an array of lengths, all time steps one sequence after the other.  "
    "[default: inputs, x, X or values]",
)
@click.option(
    "--target",
    metavar="ARRAY",
    help="Array with one value to predict for each sequence.  [default: target, y, Y or labels]",
)
@click.option(
    "--lengths",
    metavar="ARRAY",
    help="Array with the number of time steps of each sequence.  [default: lengths, if it exists]",
)
@click.option(
    "--id",
    "id_array",
    metavar="ARRAY",
    help="Array that identifies the sequences.  [default: id, if it exists]",
)
@output_options
def npz_command(
    path: Path,
    inputs: str | None,
    target: str | None,
    lengths: str | None,
    id_array: str | None,
    output: str | None,
    split: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert the arrays of a file that numpy.savez wrote.

    An array of objects is refused, since reading it could run code.
    """
    from orchestrator.datasets.importing.npz import NpzOptions, read_npz

    options = NpzOptions(inputs, target, lengths, id_array)
    write(lambda: read_npz(path, options), path, output, split, force, as_json)


@click.command(
    "idx",
    epilog=example("rnnjob data import idx images-idx3-ubyte labels-idx1-ubyte"),
)
@click.argument("inputs", metavar="IMAGES", type=click.Path(path_type=Path))
@click.argument("labels", metavar="[LABELS]", required=False, type=click.Path(path_type=Path))
@output_options
def idx_command(
    inputs: Path,
    labels: Path | None,
    output: str | None,
    split: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Convert idx files, plain or gzipped, such as those of MNIST.

    Each row of an image becomes a time step.
    """
    from orchestrator.datasets.importing.idx_rows import read_idx_files

    write(lambda: read_idx_files(inputs, labels), inputs, output, split, force, as_json)
