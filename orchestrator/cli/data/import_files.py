"""The commands below `rnnjob data import`."""

import click

from orchestrator.cli.data.import_arrays import idx_command, npz_command
from orchestrator.cli.data.import_csv import csv_long_command, csv_wide_command
from orchestrator.cli.options.example import example


@click.group(
    "import",
    epilog=example(
        "rnnjob data import csv-long steps.csv --id recording --time t --target gesture",
        "rnnjob data import csv-wide wide.csv --prefix x_ --target gesture",
        "rnnjob data import npz arrays.npz --inputs x --target y",
        "rnnjob data import idx images-idx3-ubyte labels-idx1-ubyte",
    ),
)
def import_command() -> None:
    """Convert CSV, NPZ or idx files to a Parquet file of sequences."""


for command in (csv_long_command, csv_wide_command, npz_command, idx_command):
    import_command.add_command(command)
