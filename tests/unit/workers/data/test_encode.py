"""Rows of a table as the columns of a shard, with the kinds that training decided."""

import pyarrow as pa
import pytest

from workers.data.encode import encode_inputs
from workers.data.kinds import (
    UNKNOWN,
    ClassTarget,
    DataShape,
    NumberTarget,
    TokenInput,
    VectorInput,
)
from workers.data.shard_schema import shard_schema
from workers.data.tables import rows_from_table
from workers.data.targets.encode import encode_targets
from workers.errors import DataError

VECTORS = VectorInput(
    columns=("x",), num_features=2, min_length=1, max_length=3, mean=(0.0, 0.0), std=(1.0, 1.0)
)
TOKENS = TokenInput(column="x", min_length=1, max_length=3, vocabulary=("a", "b"))
CLASSES = ClassTarget(column="y", names=("no", "yes"), values="text")


def where(row: int) -> str:
    return f"row {row}"


def test_new_rows_become_the_columns_that_training_reads() -> None:
    shape = DataShape(
        name="x", fingerprint="f", num_shards=1, input=VECTORS, target=CLASSES,
        train_rows=2, validation_rows=0, test_rows=1,
    )  # fmt: skip
    inputs = encode_inputs([pa.array([[[1, 2]], [[3, 4], [5, 6]]])], VECTORS, where)
    targets = encode_targets(pa.array(["yes", "no"]).dictionary_encode(), CLASSES, where)
    rows = rows_from_table(pa.table([inputs, targets], schema=shard_schema(shape)), shape)
    assert rows.inputs.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert rows.targets_N.tolist() == [1, 0]


def test_a_slice_of_a_column_is_read_as_it_is() -> None:
    column = pa.array([[[9, 9]], [[1, 2]], [[3, 4], [5, 6]], [[9, 9]]]).slice(1, 2)
    assert encode_inputs([column], VECTORS, where).to_pylist() == [[1, 2], [3, 4, 5, 6]]
    words = pa.array([["a"], ["b", "a"], ["a"]]).slice(1, 1)
    assert encode_inputs([words], TOKENS, where).to_pylist() == [[3, 2]]


def test_tokens_that_training_did_not_see_are_unknown() -> None:
    found = encode_inputs([pa.array([["b", "new", "a"]])], TOKENS, where)
    assert found.to_pylist() == [[3, UNKNOWN, 2]]
    with pytest.raises(DataError, match="null in row 0"):
        encode_inputs([pa.array([["b", None]])], TOKENS, where)
    lenient = TOKENS.model_copy(update={"missing": "zero"})
    assert encode_inputs([pa.array([["b", None]])], lenient, where).to_pylist() == [[3, UNKNOWN]]


@pytest.mark.parametrize(("truncate", "kept"), [("head", [1, 2]), ("tail", [3, 4])])
def test_sequences_are_cut_as_in_training(truncate: str, kept: list[int]) -> None:
    kind = VECTORS.model_copy(update={"limit": 1, "truncate": truncate})
    assert encode_inputs([pa.array([[[1, 2], [3, 4]]])], kind, where).to_pylist() == [kept]
    with pytest.raises(DataError, match="has 2 time steps in row 0"):
        strict = VECTORS.model_copy(update={"limit": 1})
        encode_inputs([pa.array([[[1, 2], [3, 4]]])], strict, where)


def test_what_is_not_like_the_training_rows_is_named() -> None:
    with pytest.raises(DataError, match=r"of width 3 in row 0, and the model reads .* width 2"):
        encode_inputs([pa.array([[[1, 2, 3]]])], VECTORS, where)
    with pytest.raises(DataError, match="holds numbers, not texts"):
        encode_inputs([pa.array([[1.0]])], TOKENS, where)
    with pytest.raises(DataError, match="'maybe' in row 1, a class that no training row has"):
        encode_targets(pa.array(["yes", "maybe"]), CLASSES, where)
    with pytest.raises(DataError, match="a class that no training row has"):
        encode_targets(pa.array([1, 0]), CLASSES, where)


def test_targets_of_each_kind_are_encoded() -> None:
    integers = ClassTarget(column="y", names=("-1", "7"), values="integer")
    assert encode_targets(pa.array([7, -1], pa.int8()), integers, where).to_pylist() == [1, 0]
    assert encode_targets(pa.array([7.0, -1.0]), integers, where).to_pylist() == [1, 0]
    flags = ClassTarget(column="y", names=("false", "true"), values="boolean")
    assert encode_targets(pa.array([True, False]), flags, where).to_pylist() == [1, 0]
    numbers = NumberTarget(column="y", mean=0.0, std=1.0)
    assert encode_targets(pa.array([7, -1]), numbers, where).to_pylist() == [7.0, -1.0]
