"""The columns of predictions. It imports no torch, since what puts parts together needs none."""

from collections.abc import Sequence

import pyarrow as pa

from workers.data.kinds import ClassTarget, NumberTarget


def prediction_schema(target: ClassTarget | NumberTarget) -> pa.Schema:
    """Return the columns of predictions: a number, or a class, its probability, and those of all
    classes."""
    if isinstance(target, NumberTarget):
        return pa.schema([("prediction", pa.float64())])
    classes = pa.struct([pa.field(name, pa.float32()) for name in target.names])
    return pa.schema(
        [("prediction", pa.string()), ("probability", pa.float32()), ("probabilities", classes)]
    )


def id_schema(id_types: Sequence[pa.DataType | None]) -> pa.Schema:
    """Return the columns that identify a row: `id` if all files have ids, else file and number.

    `id_types`: the type of the ids of each file, int64 or texts; None if it has none.
    """
    types = set(id_types)
    if None in types or not types:
        return pa.schema([("file", pa.string()), ("row", pa.int64())])
    [kind] = types if len(types) == 1 else {pa.string()}
    return pa.schema([("id", kind)])
