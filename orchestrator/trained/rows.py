"""Rows to evaluate a trained model on: of its own data set, of another one, or of tables.

The model's own kinds of input and target hold for all of them: its normalization, vocabulary and
classes. Row i belongs to shard i mod num_shards, as in training.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.datasets.options import TABLE_PREFIX, TableOptions
from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData
from orchestrator.datasets.tables.labelled import labelled_rows
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.plan import open_data
from orchestrator.trained.trained_run import TrainedRun
from workers.config import DataShape
from workers.data.kinds import ImageInput
from workers.errors import InputError

if TYPE_CHECKING:
    from workers.data.rows import ShardData

ALL = "all"
"""All rows of tables, instead of those of one split."""


@dataclass(frozen=True)
class RowsToEvaluate:
    """The rows of one split."""

    dataset: str
    split: str
    shape: DataShape
    """What the model reads, with the number of these rows as that of their split."""
    table: Callable[[int], pa.Table]
    """Returns the rows of a shard, with the columns of `shard_schema`."""

    def load_shard(self, shard: int) -> "ShardData":
        """Return the rows of a shard, by the name of the split."""
        from workers.data.tables import rows_from_table

        return {self.split: rows_from_table(self.table(shard), self.shape)}


def rows_for(
    trained: TrainedRun, dataset: str | None, split: str | None, data_dir: Path | None
) -> RowsToEvaluate:
    """Find rows for a trained model.

    Args:
        dataset: the name of a data set, or `parquet:URI`; None for that of the run.
        data_dir: the folder with the idx files of a data set of images.
        split: the name of a split, by default test; of tables also ALL, which is the default then.

    Raises DataError, or InputError if the rows do not fit the model.
    """
    if dataset is not None and dataset.startswith(TABLE_PREFIX):
        return _of_tables(trained, dataset, split or ALL)
    if split == ALL:
        raise InputError(
            "--split all is for tables, and this data set has splits of its own",
            "name one: --split train, validation or test",
        )
    return _of_prepared(trained, _opened(trained, dataset, data_dir), split or "test")


def _opened(trained: TrainedRun, dataset: str | None, data_dir: Path | None) -> PreparedData:
    spec, own = trained.spec, trained.job.data
    if dataset is not None and dataset != spec.dataset.name:
        return prepare(dataset, data_dir, own.num_shards)
    if data_dir is not None and not spec.dataset.is_table:
        spec = spec.with_values({"dataset.data_dir": str(data_dir)})
    data = open_data(_with_budget_for_all(spec), 1)
    if data.shape.fingerprint != own.fingerprint:
        raise InputError(
            f"{spec.dataset.name} has other rows than those which {trained.run.run_id} was "
            "trained with",
            f"restore them, or evaluate all rows of a table: --dataset {TABLE_PREFIX}URI",
        )
    return data


def _with_budget_for_all(spec: JobSpec) -> JobSpec:
    """Return the spec for one process, which holds the shards of all workers."""
    low, _ = spec.scaling.worker_range
    return spec.with_values({"dataset.memory_budget": f"{low}TiB"})


def _of_prepared(trained: TrainedRun, data: PreparedData, split: str) -> RowsToEvaluate:
    own, found = trained.job.data, data.shape
    _check_alike(own, found)
    shape = found.model_copy(update={"input": own.input, "target": own.target})
    if not shape.num_rows(split):
        raise InputError(f"{shape.name} has no {split} rows", "name another split: --split")
    return RowsToEvaluate(shape.name, split, shape, lambda shard: data.table(split, shard))


def _check_alike(own: DataShape, found: DataShape) -> None:
    """Raise InputError if rows of one data set are not rows for a model of the other."""
    if not isinstance(own.input, ImageInput) or not isinstance(found.input, ImageInput):
        if own.input != found.input or own.target != found.target:
            raise InputError(
                f"{found.name} does not have the features, tokens and classes of {own.name}",
                f"name tables with the columns of {own.name}: --dataset {TABLE_PREFIX}URI",
            )
        return
    sizes = [(shape.height, shape.width) for shape in (own.input, found.input)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"the images of {found.name} have {sizes[1][0]} by {sizes[1][1]} pixels, the model "
            f"reads {sizes[0][0]} by {sizes[0][1]}",
            "name images of the same size: --dataset",
        )
    if own.target.num_outputs != found.target.num_outputs:
        raise InputError(
            f"{found.name} has {found.target.num_outputs} classes, the model knows "
            f"{own.target.num_outputs}",
            "name a data set with the same classes: --dataset",
        )


def _of_tables(trained: TrainedRun, dataset: str, split: str) -> RowsToEvaluate:
    own, spec = trained.job.data, trained.spec
    if isinstance(own.input, ImageInput):
        raise InputError(
            f"the model of {trained.run.run_id} reads images, and {dataset} are tables",
            "name a set of images: --dataset mnist",
        )
    options = spec.dataset.table_options if spec.dataset.is_table else TableOptions()
    parts = labelled_rows(dataset, own, options, None if split == ALL else split)
    num_rows = sum(part.num_rows for part in parts)
    # The lengths of the training rows count, too: a model that got lengths gets them again.
    lengths = [own.input.min_length, own.input.max_length, *_lengths(parts, own)]
    source = own.input.model_copy(update={"min_length": min(lengths), "max_length": max(lengths)})
    name = "test" if split == ALL else split
    shape = own.model_copy(update={"input": source, f"{name}_rows": num_rows})

    def rows_of(shard: int) -> pa.Table:
        taken, first = [], 0
        for part in parts:
            start = (shard - first) % shape.num_shards
            index = range(start, part.num_rows, shape.num_shards)
            taken.append(part.take(pa.array(index, pa.int64())))
            first += part.num_rows
        return pa.Table.from_batches(taken)

    return RowsToEvaluate(dataset, name, shape, rows_of)


def _lengths(parts: list[pa.RecordBatch], own: DataShape) -> Iterator[int]:
    """Yield the shortest and the longest length of each part."""
    width = getattr(own.input, "num_features", 1)
    for part in parts:
        found = pc.min_max(part.column(0).value_lengths())
        yield from (found["min"].as_py() // width, found["max"].as_py() // width)
