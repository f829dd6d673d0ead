"""Any table is cut to shards of the right form, or refused with one line of cause and of cure."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.datasets.prepared import PreparedData
from tests.unit.datasets.tables.made import cut, write
from workers.data.kinds import SPLITS, NumberTarget, TokenInput, VectorInput
from workers.data.tables import rows_from_table
from workers.errors import JobError

NUMBERS = {
    "float64": (pa.float64(), st.floats(-1e3, 1e3)),
    "float32": (pa.float32(), st.floats(-(2.0**90), 2.0**90, width=32)),
    "wild": (pa.float64(), st.floats()),
    "float16": (pa.float16(), st.floats(-10, 10, width=16).map(np.float16)),
    "int8": (pa.int8(), st.integers(-128, 127)),
    "uint64": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "bool": (pa.bool_(), st.booleans()),
    "decimal": (pa.decimal128(8, 2), st.decimals(-999, 999, places=2)),
    "null": (pa.null(), st.none()),
}
OTHERS = {
    "text": (pa.string(), st.text(max_size=3)),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "b", "train"])),
    "date": (pa.date32(), st.dates()),
    "binary": (pa.binary(), st.binary(max_size=3)),
}
SCALARS = {**NUMBERS, **OTHERS}


def rarely(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 30)) in (7, 17)  # not the ends, which are drawn more often


@st.composite
def list_columns(draw: st.DrawFn, num_rows: int) -> pa.Array:
    """A column of lists: mostly tidy, rarely ragged, with nulls or empty."""
    kind, item = SCALARS[draw(st.sampled_from([*NUMBERS, "text", "dictionary"]))]
    if rarely(draw):
        item = st.one_of(item, st.none())
    elif draw(st.booleans()):
        item = st.sampled_from([0, 1]) if pa.types.is_integer(kind) else item
    width, is_fixed = draw(st.integers(1, 3)), draw(st.booleans())
    for level in range(draw(st.sampled_from([0, 0, 1, 1, 1, 2])) if kind != pa.string() else 0):
        is_ragged = not is_fixed and rarely(draw)
        item = st.lists(item, min_size=0 if is_ragged else width, max_size=width)
        item = st.one_of(item, st.none()) if rarely(draw) else item
        kind = pa.list_(kind, width) if is_fixed and level == 0 else pa.list_(kind)
    shortest, longest = 0 if rarely(draw) else 1, draw(st.integers(1, 5))
    lists = st.lists(item, min_size=shortest, max_size=longest)
    lists = st.one_of(lists, st.none()) if rarely(draw) else lists
    content = draw(st.lists(lists, min_size=num_rows, max_size=num_rows))
    return pa.array(content, pa.large_list(kind) if draw(st.booleans()) else pa.list_(kind))


@st.composite
def scalar_columns(draw: st.DrawFn, num_rows: int) -> pa.Array:
    kind, values = SCALARS[draw(st.sampled_from([*SCALARS, "text", "int8", "bool"]))]
    few = st.sampled_from([draw(values) for _ in range(3)])
    values = values if rarely(draw) else few
    values = st.one_of(values, st.none()) if rarely(draw) else values
    return pa.array(draw(st.lists(values, min_size=num_rows, max_size=num_rows)), kind)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    num_rows = draw(st.integers(0, 6) if rarely(draw) else st.integers(8, 24))
    num_lists = draw(st.integers(0, 2)) if rarely(draw) else 1
    num_scalars = draw(st.integers(0, 2)) if rarely(draw) else 1
    columns: dict[str, Any] = {f"x{i}": draw(list_columns(num_rows)) for i in range(num_lists)}
    columns |= {f"y{i}": draw(scalar_columns(num_rows)) for i in range(num_scalars)}
    if draw(st.booleans()):
        names = st.sampled_from(["train", "train", "Train", "val", "test"])
        columns["split"] = draw(st.lists(names, min_size=num_rows, max_size=num_rows))
    return pa.table(columns)


ROLES = {
    "inputs": st.sampled_from(["x0", "y0", ["x0", "x1"], []]),
    "target": st.sampled_from(["y0", "y0", "y1", "x0"]),
    "split": st.sampled_from(["y0", "split", "z"]),
    "id": st.sampled_from(["x0", "y1", "split", "z"]),
    "group": st.sampled_from(["x0", "y1", "split", "z"]),
}
KEYS = {
    "task": st.sampled_from(["auto", "classification", "regression"]),
    "validation_fraction": st.sampled_from([0.0, 0.4]),
    "test_fraction": st.sampled_from([0.3, 0.4, 0.6, 0.0]),
    "missing": st.sampled_from(["zero", "zero", "error"]),
    "min_count": st.integers(1, 2),
    "max_length": st.integers(1, 5),
    "truncate": st.sampled_from(["head", "tail", "error"]),
}


@st.composite
def options(draw: st.DrawFn) -> dict[str, Any]:
    roles = draw(st.fixed_dictionaries({}, optional=ROLES)) if rarely(draw) else {}
    keys = draw(st.fixed_dictionaries({}, optional=KEYS))
    return {"validation_fraction": 0.0, "test_fraction": 0.4, **roles, **keys}


def check(data: PreparedData, num_rows: int, options: dict[str, Any]) -> None:
    """Check that the shards have the form that the shape says, and each row once."""
    shape = data.shape
    assert sum(shape.num_rows(split) for split in SPLITS) == num_rows
    for split in SPLITS:
        for shard in range(shape.num_shards):
            part = rows_from_table(data.table(split, shard), shape)
            num_rows_here = len(range(shard, shape.num_rows(split), shape.num_shards))
            assert len(part) == num_rows_here
            if not num_rows_here:
                continue
            batch = part.batch()
            assert isinstance(shape.input, VectorInput | TokenInput)
            lengths = batch.lengths_N
            longest = shape.input.max_length if lengths is None else int(lengths.max())
            assert shape.input.min_length <= longest <= shape.input.max_length
            if isinstance(shape.input, VectorInput):
                assert batch.inputs.shape == (num_rows_here, longest, shape.input.num_features)
                is_missing = bool(batch.inputs.isnan().any())
                assert not is_missing or options.get("missing") == "zero"
            else:
                assert batch.inputs.shape == (num_rows_here, longest)
                assert int(batch.inputs.max()) < shape.input.vocabulary_size
            assert part.targets_N.isfinite().all()
    if isinstance(shape.input, VectorInput):
        assert all(math.isfinite(number) for number in (*shape.input.mean, *shape.input.std))
    if isinstance(shape.target, NumberTarget):
        assert math.isfinite(shape.target.mean) and shape.target.std > 0
    else:
        assert sum(shape.target.train_counts) == shape.train_rows
        assert len(set(shape.target.names)) == len(shape.target.names) > 1


@given(tables(), options(), st.sampled_from([False, False, True]), st.sampled_from([1, 3]))
@settings(max_examples=100)
def test_any_table_is_cut_or_refused(
    tmp_path: Path, table: pa.Table, keys: dict[str, Any], as_tokens: bool, num_shards: int
) -> None:
    path = write(tmp_path / "a.parquet", table, row_group_size=4)
    try:
        data = cut(path, as_tokens, num_shards, **keys)
    except JobError as error:
        for line in (error.cause, error.cure):
            assert line and "\n" not in line and len(line) < 1000
        assert not list((tmp_path / "cache").glob("prepared/.*")), "an incomplete cut was left"
        return
    check(data, table.num_rows, keys)
