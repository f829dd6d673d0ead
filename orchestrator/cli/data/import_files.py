"""The commands below `rnnjob data import`."""

import click

from orchestrator.cli.data.import_arrays import idx_command, npz_command
from orchestrator.cli.data.import_csv import csv_long_command, csv_wide_command


@click.group("import")
def import_command() -> None:
    """Convert CSV, NPZ or idx files to a Parquet file of sequences.

    \b
    rnnjob data import csv-long steps.csv --id recording --time t --target gesture
    rnnjob data import csv-wide rows.csv --prefix x_ --prefix y_ --target gesture
    rnnjob data import npz arrays.npz --inputs x --target y
    rnnjob data import idx train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz
    """


for command in (csv_long_command, csv_wide_command, npz_command, idx_command):
    import_command.add_command(command)
