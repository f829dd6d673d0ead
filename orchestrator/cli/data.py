"""rnnjob data"""

import re
from pathlib import Path

import click

from orchestrator.cli.common import explained, json_option, print_json
from orchestrator.cli.completing import datasets
from workers.errors import InputError

_IS_COUNT = re.compile(r"[0-9]{1,18}")


@click.group("data")
def data_command() -> None:
    """Prepare data sets."""


@data_command.command("prepare")
@click.option(
    "--dataset",
    default="mnist",
    show_default=True,
    metavar="NAME",
    shell_complete=datasets,
    help="mnist, fashion-mnist, kmnist or mnist-sample.",
)
@click.option(
    "--data-dir",
    envvar="RNNJOB_DATA_DIR",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder with idx files, plain or .gz; without it they are downloaded.  "
    "[env: RNNJOB_DATA_DIR]",
)
@click.option("--num-shards", default=8, show_default=True, help="The most workers a job can use.")
@click.option(
    "--validation-rows",
    default="auto",
    show_default=True,
    metavar="N|auto",
    help="First rows of the training split to hold out; auto: one in twelve.",
)
@click.option("--force", is_flag=True, help="Cut anew even where it is done.")
@json_option
@explained
def prepare_command(
    dataset: str,
    data_dir: Path | None,
    num_shards: int,
    validation_rows: str,
    force: bool,
    as_json: bool,
) -> None:
    """Cut a data set into Parquet shards; submit does it by itself when needed."""
    from orchestrator.datasets.prepare import prepare

    if num_shards < 1:
        raise InputError(f"--num-shards is {num_shards}", "take at least 1")
    if validation_rows != "auto" and not _IS_COUNT.fullmatch(validation_rows):
        raise InputError(f"--validation-rows is '{validation_rows}'", "take a number, or auto")
    held = validation_rows if validation_rows == "auto" else int(validation_rows)
    data = prepare(dataset, data_dir, num_shards, held, force=force)
    data.verify()
    if as_json:
        content = data.shape.model_dump()
        print_json(
            {"schema_version": 1, "folder": data.folder.where(), **content, "shards": data.shards}
        )
        return
    shape = data.shape
    click.echo(
        f"{dataset}: {shape.train_rows:,} training, {shape.validation_rows:,} validation, "
        f"{shape.test_rows:,} test rows in {shape.num_shards} shards"
    )
    click.echo(f"fingerprint {shape.fingerprint}")
    click.echo(f"in {data.folder.where()}")
