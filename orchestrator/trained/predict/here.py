"""Predict in this process: read blocks, compute some at once, and hand them on in order."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pyarrow as pa

from orchestrator.datasets.tables.unlabelled import RowBlock
from orchestrator.runs.hardware import num_usable_cpus
from orchestrator.trained.predict.inputs import Inputs
from orchestrator.trained.trained_run import TrainedRun
from workers.trained.prediction_columns import prediction_schema

if TYPE_CHECKING:
    from workers.trained.predict import Predictor


def prediction_columns(trained: TrainedRun, inputs: Inputs) -> pa.Schema:
    """Return the columns of what `predictions` yields."""
    return pa.schema([*inputs.id_schema, *prediction_schema(trained.job.data.target)])


def predictions(trained: TrainedRun, inputs: Inputs) -> Iterator[pa.RecordBatch]:
    """Yield the predictions of all rows, in their order, a block at a time.

    Raises JobError.
    """
    from workers.models.own.installed import code_of
    from workers.trained.in_order import in_order
    from workers.trained.load import load_trained
    from workers.trained.predict import BLOCK_ROWS, predicting

    schema = prediction_columns(trained, inputs)
    blocks = (block for source in inputs.sources for block in source.blocks(BLOCK_ROWS))
    with code_of(trained.job), predicting(load_trained(trained.job, trained.checkpoint)) as model:

        def predict(block: RowBlock) -> pa.RecordBatch:
            return with_ids(model, block, inputs, schema)

        yield from in_order(predict, blocks, num_usable_cpus())


def with_ids(
    model: "Predictor", block: RowBlock, inputs: Inputs, schema: pa.Schema
) -> pa.RecordBatch:
    """Return the predictions of a block beside what identifies its rows."""
    predicted = model.predict(block.inputs)
    columns = [*inputs.ids_of(block), *predicted.columns]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
