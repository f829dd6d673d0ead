"""What a run's model says of the rows of its test split, for its report."""

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from orchestrator.runs.report.content import Predicted, WrongRow
from orchestrator.trained.rows import RowsToEvaluate
from orchestrator.trained.rows_at_hand import test_rows_at_hand
from orchestrator.trained.trained_run import TrainedRun, open_trained
from workers.data.kinds import (
    NUM_SPECIAL_TOKENS,
    DataShape,
    ImageInput,
    NumberTarget,
    TokenInput,
    VectorInput,
)
from workers.data.shard_schema import shard_schema
from workers.errors import JobError
from workers.records.run_folder import RunFolder
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from workers.trained.predict import Predictor

_MAX_ROWS = 20_000
"""How many test rows are predicted, so that a report of a large split does not take minutes."""
_NUM_WRONG = 24
_MAX_PAIRS = 1_500
_MAX_FEATURES, _MAX_STEPS, _MAX_TOKENS = 6, 400, 60
"""How much of a row is shown."""


def predicted_test_rows(run: RunFolder, trust_code: bool, data_dir: Path | None) -> Predicted | str:
    """Return the predictions for the test rows of a run, or why they cannot be had here.

    Args:
        trust_code: whether the code of the run's own model may be run, whoever wrote it.
        data_dir: the folder with the idx files of a data set of images.
    """
    try:
        trained = open_trained(Storage(run.storage.parent_uri), run.run_id, trust_code)
        rows = test_rows_at_hand(trained, data_dir)
        if isinstance(rows, str):
            return rows
        return _predicted(trained, rows)
    except JobError as error:
        return error.cause


def _predicted(trained: TrainedRun, rows: RowsToEvaluate) -> Predicted:
    from workers.models.own.installed import code_of
    from workers.trained.load import load_trained
    from workers.trained.predict import predicting

    with code_of(trained.job), predicting(load_trained(trained.job, None)) as model:
        found = list(_blocks(model, rows))
    num_rows = sum(len(numbers) for numbers, _, _, _ in found)
    if isinstance(rows.shape.target, NumberTarget):
        pairs = [
            pair
            for _, _, targets, predicted in found
            for pair in zip(targets, predicted.column(0).to_pylist(), strict=True)
        ]
        return Predicted(num_rows, pairs=tuple(pairs[:: -(-len(pairs) // _MAX_PAIRS)]))
    num_wrong, wrong = _most_confident(rows.shape, found)
    return Predicted(num_rows, num_wrong, wrong, _features(rows.shape))


Block = tuple[range, pa.Array, list[Any], pa.RecordBatch]
"""The numbers of rows in their split, their inputs, their targets, and their predictions."""


def _blocks(model: "Predictor", rows: RowsToEvaluate) -> Iterator[Block]:
    from workers.trained.predict import BLOCK_ROWS

    input_field, target_field = shard_schema(rows.shape)
    num_shards = rows.shape.num_shards
    for shard in range(num_shards):
        table = rows.table(shard).slice(0, -(-_MAX_ROWS // num_shards))
        for start in range(0, table.num_rows, BLOCK_ROWS):
            block = table.slice(start, BLOCK_ROWS)
            inputs = pa.concat_arrays(block.column(input_field.name).chunks)
            numbers = range(shard + start * num_shards, rows.shape.num_rows(rows.split), num_shards)
            targets = block.column(target_field.name).to_pylist()
            yield numbers[: len(inputs)], inputs, targets, model.predict(inputs)


def _most_confident(shape: DataShape, blocks: list[Block]) -> tuple[int, tuple[WrongRow, ...]]:
    """Return the number of mistakes, and the most confident ones."""
    assert not isinstance(shape.target, NumberTarget)
    names = shape.target.names
    mistakes = [
        (probability, -numbers[place], number, place, names[target], said)
        for number, (numbers, _, targets, predicted) in enumerate(blocks)
        for place, (target, said, probability) in enumerate(
            zip(
                targets,
                predicted.column(0).to_pylist(),
                predicted.column(1).to_pylist(),
                strict=True,
            )
        )
        if names[target] != said
    ]
    largest = heapq.nlargest(_NUM_WRONG, mistakes)
    rows = (
        WrongRow(-row, truth, said, probability, **_picture(shape, blocks[number][1][place]))
        for probability, row, number, place, truth, said in largest
    )
    return len(mistakes), tuple(rows)


def _picture(shape: DataShape, value: pa.Scalar) -> dict[str, Any]:
    """Return what is shown of a row, by the names that `WrongRow` has for it."""
    content, source = value.as_py(), shape.input
    if isinstance(source, ImageInput):
        return {"pixels": bytes(content), "width": source.width}
    if isinstance(source, TokenInput):
        return {"tokens": tuple(_token(source, token) for token in content[:_MAX_TOKENS])}
    assert isinstance(source, VectorInput)
    width = source.num_features
    shown = content[: width * _MAX_STEPS]
    return {"curves": tuple(tuple(shown[f::width]) for f in range(min(width, _MAX_FEATURES)))}


def _features(shape: DataShape) -> tuple[str, ...]:
    """Return the names of the features that `_picture` shows."""
    source = shape.input
    if not isinstance(source, VectorInput):
        return ()
    names = source.columns
    if len(names) != source.num_features:  # one column with vectors
        names = tuple(f"{names[0]}[{number}]" for number in range(source.num_features))
    return names[:_MAX_FEATURES]


def _token(source: TokenInput, token: int) -> str:
    place = token - NUM_SPECIAL_TOKENS
    return str(source.vocabulary[place]) if place >= 0 else "?"
