"""Explain a run's model on the first rows of its test split, in this process."""

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from orchestrator.trained.rows import RowsToEvaluate, rows_for
from orchestrator.trained.trained_run import TrainedRun
from workers.data.shard_schema import shard_schema
from workers.errors import InputError
from workers.trained.explain.explanation import Explanation

DEFAULT_ROWS = 256
"""Enough rows for curves that do not jump, and few enough for some seconds."""


def explain_run(
    trained: TrainedRun,
    num_rows: int = DEFAULT_ROWS,
    row: int = 0,
    data_dir: Path | None = None,
) -> Explanation:
    """Return what the model of a run does at each time step. Nothing is written.

    Args:
        num_rows: how many rows are read, the first ones of the test split.
        row: the number of the row that is unrolled, from 0.
        data_dir: the folder with the idx files of a data set of images.

    Raises JobError.
    """
    from workers.data.tables import rows_from_table
    from workers.models.own.installed import code_of
    from workers.trained.explain.explain import explain
    from workers.trained.load import load_trained

    name = trained.run.run_id
    found = rows_for(trained, None, None, data_dir)
    in_split = found.shape.num_rows(found.split)
    if row >= in_split:
        raise InputError(
            f"--row is {row}, and the test split of {name} has {in_split} rows",
            f"name one from 0 to {in_split - 1}",
        )
    first = _rows(found, range(min(num_rows, in_split)))
    with code_of(trained.job):
        model = load_trained(trained.job, trained.checkpoint)
        explanation = explain(
            model,
            rows_from_table(first, found.shape),
            rows_from_table(_rows(found, range(row, row + 1)), found.shape),
        )
    checkpoint = "" if trained.checkpoint is None else f":{trained.checkpoint}"
    return replace(
        explanation,
        name=name + checkpoint,
        dataset=found.dataset,
        unrolled=replace(explanation.unrolled, number=row),
    )


def _rows(found: RowsToEvaluate, numbers: range) -> pa.Table:
    """Return rows that follow each other in the split. Row i is row i // S of shard i mod S."""
    num_shards = found.shape.num_shards
    columns = [field.name for field in shard_schema(found.shape)]
    by_shard = sorted(numbers, key=lambda number: (number % num_shards, number))
    parts = []
    for shard, group in groupby(by_shard, key=lambda number: number % num_shards):
        places = [number // num_shards for number in group]
        parts.append(found.table(shard).select(columns).slice(places[0], len(places)))
    in_order = sorted(range(len(by_shard)), key=by_shard.__getitem__)
    return pa.concat_tables(parts).take(pa.array(in_order, pa.int64()))
