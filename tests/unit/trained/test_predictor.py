"""Predictions of blocks of rows: in order, and the same as those of a plain call of the model."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from tests.unit.workers.data import data_sets
from tests.unit.workers.data.data_sets import shape_of
from workers.config import TrainJob
from workers.data.kinds import DataShape, Input, Target
from workers.models.build import model_of
from workers.trained.load import TrainedModel
from workers.trained.predict import Predictor, predicting

LENGTHS = [3, 9, 1, 9, 12, 2]


def trained(source: Input, target: Target) -> TrainedModel:
    shape = shape_of(source, target)
    embedding = 4 if source.kind == "tokens" else 0
    job = TrainJob.model_validate(
        {
            "run_id": "r", "run_uri": "/nowhere/r", "fingerprint": "f", "data": shape,
            "model": {"hidden_size": 8, "embedding_size": embedding, "bidirectional": True},
            "augment": {}, "checkpoint": {}, "log": {}, "cpus_per_worker": 1,
            "training": {"precision": "fp32", "global_batch_size": 8},
        }
    )  # fmt: skip
    return TrainedModel(model_of(job).eval(), job, "0" * 64)


def rows_of(shape: DataShape, lengths: list[int]) -> pa.Array:
    random = np.random.default_rng(0)
    if shape.input.kind == "tokens":
        return pa.array([random.integers(2, 5, n) for n in lengths], pa.list_(pa.int32()))
    return pa.array(
        [random.normal(size=n * data_sets.FEATURES) for n in lengths], pa.list_(pa.float32())
    )


@pytest.mark.parametrize("source", [data_sets.VECTORS, data_sets.TOKENS])
@pytest.mark.parametrize("target", [data_sets.CLASSES, data_sets.NUMBER])
def test_rows_of_any_length_keep_their_order(source: Input, target: Target) -> None:
    model = trained(source, target)
    rows = rows_of(model.job.data, LENGTHS)
    with predicting(model) as predictor:
        together = predictor.predict(rows)
        alone = [predictor.predict(rows.slice(row, 1)).to_pylist()[0] for row in range(len(rows))]
    column = "prediction" if target.kind == "number" else "probability"
    np.testing.assert_allclose(together.column(column), [row[column] for row in alone], rtol=1e-5)
    assert len({row[column] for row in alone}) == len(LENGTHS)


def test_a_number_is_in_its_own_unit() -> None:
    model = trained(data_sets.VECTORS, data_sets.NUMBER)
    torch.nn.init.zeros_(model.module.head.weight)  # type: ignore[union-attr, arg-type]
    torch.nn.init.ones_(model.module.head.bias)  # type: ignore[union-attr, arg-type]
    predicted = Predictor(model).predict(rows_of(model.job.data, [2, 3]))
    assert predicted.column("prediction").to_pylist() == [14.0, 14.0]  # mean + std


def test_probabilities_are_named_by_class_and_make_one() -> None:
    model = trained(data_sets.VECTORS, data_sets.CLASSES)
    for row in Predictor(model).predict(rows_of(model.job.data, LENGTHS)).to_pylist():
        assert set(row["probabilities"]) == {"no", "yes"}
        assert sum(row["probabilities"].values()) == pytest.approx(1)
        assert row["probability"] == max(row["probabilities"].values())
        assert row["probabilities"][row["prediction"]] == row["probability"]


def test_a_block_has_the_same_bits_whatever_was_predicted_before() -> None:
    model = trained(data_sets.VECTORS, data_sets.CLASSES)
    rows = rows_of(model.job.data, [*range(1, 10)] * 30)
    first = Predictor(model).predict(rows)
    again = Predictor(model)
    again.predict(rows.slice(0, 17))
    assert again.predict(rows).equals(first)
