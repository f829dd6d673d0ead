"""Compute predictions for blocks of rows. A block's predictions depend on its rows alone.

N rows of a block, B rows of a piece, C outputs of the model.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from workers.config import TrainJob
from workers.data.kinds import ClassTarget, DataShape, ImageInput, NumberTarget, VectorInput
from workers.data.rows import Rows
from workers.data.shard_schema import shard_schema, target_field
from workers.data.tables import rows_from_table
from workers.errors import InputError
from workers.models.cpu_kernels import bf16_kernels
from workers.models.own.step import takes_lengths
from workers.models.sequences import model_outputs
from workers.pieces import piece_rows
from workers.trained.load import TrainedModel
from workers.trained.prediction_columns import prediction_schema

BLOCK_ROWS = 1024
"""The most rows that are sorted by length together. This number decides the last bits of
predictions, since it decides which rows are computed in one call."""


class Predictor:
    """Predicts with a trained model on a CPU. Threads may share it."""

    def __init__(self, model: TrainedModel) -> None:
        self._module, self._job = model.module, model.job
        # A model of the user's own that is not told the lengths takes padding for time steps.
        self._needs_equal_lengths = bool(model.job.model.class_path) and not takes_lengths(
            model.module
        )

    def predict(self, inputs: pa.Array) -> pa.RecordBatch:
        """Return the predictions (N) for a block of rows, in their order.

        `inputs`: the input column of `shard_schema`.

        Raises InputError if the model cannot read sequences of their lengths.
        """
        outputs_NC = self._outputs(inputs)
        target = self._job.data.target
        if isinstance(target, NumberTarget):
            columns = [pa.array(outputs_NC[:, 0].double().numpy() * target.std + target.mean)]
        else:
            columns = _classes(outputs_NC, target)
        return pa.RecordBatch.from_arrays(columns, schema=prediction_schema(target))

    def _outputs(self, inputs: pa.Array) -> Tensor:
        shape = _shape_of(self._job.data, inputs)
        if shape.input != self._job.data.input and self._needs_equal_lengths:
            raise _other_lengths(self._job)
        job = self._job.model_copy(update={"data": shape})
        rows, order_N = _sorted_by_length(_rows_of(inputs, shape))
        with torch.no_grad():
            parts = [
                model_outputs(self._module, part.batch(), job)
                for part in rows.pieces(piece_rows(job))
            ]
        outputs_NC = torch.cat(parts)
        if order_N is None:
            return outputs_NC
        return torch.empty_like(outputs_NC).index_copy_(0, order_N, outputs_NC)


@contextlib.contextmanager
def predicting(model: TrainedModel) -> Iterator[Predictor]:
    """Return what predicts with a model, in the precision in which it was trained."""
    with bf16_kernels(model.job.training.precision, torch.device("cpu")):
        yield Predictor(model)


def _shape_of(shape: DataShape, inputs: pa.Array) -> DataShape:
    """Return what the model reads, with room for the lengths of these rows.

    The lengths of the training rows count, too: a model that got lengths gets them again.
    """
    source = shape.input
    if isinstance(source, ImageInput):
        return shape
    width = source.num_features if isinstance(source, VectorInput) else 1
    lengths_N = np.asarray(inputs.value_lengths()) // width
    update = {
        "min_length": min(source.min_length, int(lengths_N.min())),
        "max_length": max(source.max_length, int(lengths_N.max())),
    }
    return shape.model_copy(update={"input": source.model_copy(update=update)})


def _rows_of(inputs: pa.Array, shape: DataShape) -> Rows:
    """Return the rows, with zeros in place of targets."""
    zeros = pa.array(np.zeros(len(inputs), np.int64)).cast(target_field(shape).type)
    return rows_from_table(pa.table([inputs, zeros], schema=shard_schema(shape)), shape)


def _sorted_by_length(rows: Rows) -> tuple[Rows, Tensor | None]:
    """Return rows of about one length beside each other, since they need little padding, and where
    each row was."""
    if rows.lengths_N is None:
        return rows, None
    order_N = rows.lengths_N.argsort(stable=True)
    return rows.take(order_N), order_N


def _classes(outputs_NC: Tensor, target: ClassTarget) -> list[pa.Array]:
    probabilities_NC = torch.softmax(outputs_NC.double(), dim=1).float().numpy()
    best_N = outputs_NC.argmax(dim=1).numpy()
    names = pa.array(target.names, pa.string())
    each = [pa.array(np.ascontiguousarray(column)) for column in probabilities_NC.T]
    return [
        names.take(pa.array(best_N)),
        pa.array(probabilities_NC[np.arange(len(best_N)), best_N]),
        pa.StructArray.from_arrays(each, fields=list(prediction_schema(target).field(2).type)),
    ]


def _other_lengths(job: TrainJob) -> InputError:
    source = job.data.input
    assert not isinstance(source, ImageInput)
    between = f"{source.min_length} to {source.max_length}"
    if source.min_length == source.max_length:
        between = str(source.max_length)
    return InputError(
        f"the model's own forward(x) takes no lengths, so it reads sequences of {between} time "
        "steps, like those it was trained with, and a row has another length",
        "cut or extend the rows, or train a model with forward(x, lengths)",
    )
