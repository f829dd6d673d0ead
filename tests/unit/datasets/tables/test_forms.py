"""The forms that sequences and targets may have in a table give the same rows."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from orchestrator.datasets.prepared import PreparedData
from tests.unit.datasets.tables.made import EXPLICIT, cut, sequences, write
from workers.data.kinds import ClassTarget, NumberTarget, TokenInput, VectorInput
from workers.data.rows import Rows
from workers.data.tables import rows_from_table

SPLIT = EXPLICIT * 2
WORDS = [["b", "a"], ["c"], ["a", "d"], ["a"], ["b"], ["b"], ["x", "a", "b"], ["a"]]
"""d and x are in no training row; c is in one."""


def train(data: PreparedData) -> Rows:
    return rows_from_table(data.table("train", 0), data.shape)


def vectors(data: PreparedData) -> VectorInput:
    assert isinstance(data.shape.input, VectorInput)
    return data.shape.input


def save(path: Path, inputs: Any, target: Any = None, **more: Any) -> Path:
    target = list("ababbaab") if target is None else target
    return write(path, {"x": inputs, "y": target, "split": SPLIT, **more})


X = [[[float(row), step / 4] for step in range(3)] for row in range(8)]
FLAT = pa.array(np.array(X, np.float32).reshape(-1))
FORMS = {
    "lists of lists": pa.array(X),
    "float32": pa.array(X, pa.list_(pa.list_(pa.float32()))),
    "float16": pa.array(
        [[[np.float16(v) for v in step] for step in row] for row in X],
        pa.list_(pa.list_(pa.float16())),
    ),
    "decimals": pa.array(
        [[[Decimal(v) for v in step] for step in row] for row in X],
        pa.list_(pa.list_(pa.decimal128(9, 3))),
    ),
    "large lists": pa.array(X, pa.large_list(pa.large_list(pa.float64()))),
    "lists of fixed size": pa.array(X, pa.list_(pa.list_(pa.float64(), 2))),
    "fixed lists of fixed size": pa.array(X, pa.list_(pa.list_(pa.float64(), 2), 3)),
    "tensors": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [3, 2]), pa.FixedSizeListArray.from_arrays(FLAT, 6)
    ),
    "turned tensors": pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [2, 3], permutation=[1, 0]),
        pa.FixedSizeListArray.from_arrays(
            pa.array(np.array(X, np.float32).transpose(0, 2, 1).reshape(-1)), 6
        ),
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_vectors_gives_the_same_data_set(tmp_path: Path, form: str) -> None:
    data = cut(save(tmp_path / "a.parquet", FORMS[form]))
    usual = cut(save(tmp_path / "b.parquet", FORMS["lists of lists"]))
    assert data.shape.fingerprint == usual.shape.fingerprint
    assert vectors(data) == vectors(usual)
    np.testing.assert_array_equal(train(data).inputs, np.array([X[i] for i in (0, 1, 4, 5)]))


def test_columns_of_numbers_are_the_features_of_vectors(tmp_path: Path) -> None:
    first, second = ([[step[i] for step in row] for row in X] for i in (0, 1))
    path = save(tmp_path / "a.parquet", first, z=second)
    data = cut(path, inputs=["x", "z"])
    assert vectors(data).columns == ("x", "z")
    assert data.shape.fingerprint == cut(save(tmp_path / "b.parquet", X)).shape.fingerprint
    turned = cut(path, inputs=["z", "x"])
    assert turned.shape.fingerprint != data.shape.fingerprint


@pytest.mark.parametrize("kind", [pa.float64(), pa.int32(), pa.uint8(), pa.bool_()], ids=str)
def test_a_list_of_numbers_is_a_sequence_of_one_feature(tmp_path: Path, kind: pa.DataType) -> None:
    one = True if kind == pa.bool_() else 1
    values = [[one] * (row % 3 + 1) for row in range(8)]
    data = cut(save(tmp_path / "a.parquet", pa.array(values, pa.list_(kind))))
    assert vectors(data).num_features == 1
    assert train(data).inputs.shape == (1 + 2 + 2 + 3, 1)
    assert train(data).lengths_N is not None
    assert (train(data).lengths_N.tolist()) == [1, 2, 2, 3]


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_lists_of_texts_are_tokens_of_the_training_rows(tmp_path: Path, kind: pa.DataType) -> None:
    path = save(tmp_path / "a.parquet", pa.array(WORDS, pa.list_(kind)))
    data = cut(path)
    assert isinstance(data.shape.input, TokenInput)
    assert data.shape.input.vocabulary == ("a", "b", "c")
    test = rows_from_table(data.table("test", 0), data.shape)
    assert train(data).inputs.tolist() == [3, 2, 4, 3, 3]
    assert test.inputs.tolist() == [2, 2]
    validation = rows_from_table(data.table("validation", 0), data.shape)
    assert validation.inputs.tolist() == [2, 1, 1, 2, 3]
    rare = cut(path, min_count=2)
    assert isinstance(rare.shape.input, TokenInput) and rare.shape.input.vocabulary == ("b",)


def test_lists_of_integers_are_tokens_only_if_the_model_takes_tokens(tmp_path: Path) -> None:
    path = save(tmp_path / "a.parquet", [[row, 70] for row in range(8)])
    data = cut(path, as_tokens=True)
    assert isinstance(data.shape.input, TokenInput)
    assert data.shape.input.vocabulary == (0, 1, 4, 5, 70)
    numbers = cut(path)
    assert vectors(numbers).num_features == 1
    assert any("with model.embedding_size they are tokens" in note for note in numbers.origin.notes)


TARGETS: dict[str, tuple[Any, str, tuple[str, ...], list[int]]] = {
    "texts": (list("baabbaab"), "text", ("a", "b"), [1, 0, 1, 0]),
    "integers": ([10, 9, 9, 9, 9, 10, 10, 10], "integer", ("9", "10"), [1, 0, 0, 1]),
    "booleans": ([True, False] * 4, "boolean", ("false", "true"), [1, 0, 1, 0]),
    "dictionary": (
        pa.array(list("baabbaab")).dictionary_encode(),
        "text",
        ("a", "b"),
        [1, 0, 1, 0],
    ),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_texts_integers_and_booleans_are_classes_in_the_order_of_their_values(
    tmp_path: Path, kind: str
) -> None:
    column, values, names, wanted = TARGETS[kind]
    data = cut(save(tmp_path / "a.parquet", X, column))
    target = data.shape.target
    assert isinstance(target, ClassTarget)
    assert (target.column, target.values, target.names) == ("y", values, names)
    assert target.train_counts == (wanted.count(0), wanted.count(1))
    assert train(data).targets_N.tolist() == wanted


def test_floats_are_a_regression_scaled_by_the_training_rows(tmp_path: Path) -> None:
    data = cut(save(tmp_path / "a.parquet", X, [1.0, 2.0, 99.0, 99.0, 3.0, 6.0, 99.0, 99.0]))
    target = data.shape.target
    assert isinstance(target, NumberTarget)
    assert (target.mean, target.std) == (3.0, pytest.approx(np.std([1, 2, 3, 6])))
    assert data.table("train", 0).column("target").to_pylist() == [1.0, 2.0, 3.0, 6.0]
    assert train(data).targets_N.mean() == pytest.approx(0.0, abs=1e-6)


def test_the_task_can_be_said(tmp_path: Path) -> None:
    integers = cut(save(tmp_path / "a.parquet", X, list(range(8))), task="regression")
    assert isinstance(integers.shape.target, NumberTarget)
    floats = cut(save(tmp_path / "b.parquet", X, [1.0, 0.0] * 4), task="classification")
    assert isinstance(floats.shape.target, ClassTarget)
    assert floats.shape.target.names == ("0", "1")


def test_vectors_are_scaled_by_all_time_steps_of_the_training_rows(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.parquet",
        {"x": (x := sequences(8, 3)), "y": list("ababbaab"), "split": SPLIT},
    )
    steps = np.concatenate([np.array(x[row]) for row in (0, 1, 4, 5)])
    found = vectors(cut(path))
    assert found.mean == pytest.approx(steps.mean(axis=0)) and found.std == pytest.approx(
        steps.std(axis=0)
    )


def test_missing_numbers_stay_missing_and_do_not_count(tmp_path: Path) -> None:
    x = [[[1.0, None], [float("nan"), 2.0], [float("inf"), 2.0]]] * 8
    data = cut(save(tmp_path / "a.parquet", x), missing="zero")
    assert (vectors(data).mean, vectors(data).std) == ((1.0, 2.0), (1.0, 1.0))
    assert vectors(data).missing == "zero"
    assert train(data).inputs[0].isnan().tolist() == [[False, True], [True, False], [True, False]]


@pytest.mark.parametrize(("truncate", "kept"), [("head", [0.0, 1.0]), ("tail", [2.0, 3.0])])
def test_long_sequences_keep_their_first_or_last_steps(
    tmp_path: Path, truncate: str, kept: list[float]
) -> None:
    x = [[0.0, 1.0, 2.0, 3.0], [7.0]] * 4
    data = cut(save(tmp_path / "a.parquet", x), max_length=2, truncate=truncate)
    assert train(data).inputs.reshape(-1).tolist() == [*kept, 7.0] * 2
    assert (vectors(data).max_length, vectors(data).limit) == (2, 2)
    words = cut(
        save(tmp_path / "b.parquet", [["a", "b", "c"]] * 8), max_length=1, truncate=truncate
    )
    assert isinstance(words.shape.input, TokenInput)
    assert words.shape.input.vocabulary == (("a",) if truncate == "head" else ("c",))
