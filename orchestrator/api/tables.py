"""The records of a run as tables of Arrow."""

from typing import Any

import pyarrow as pa

from workers.records.run_folder import RunFolder
from workers.storage.typed_json import Json


def table_of(run: RunFolder, kind: str) -> pa.Table:
    """Return the records of one kind, one a row, with null where a record lacks a column."""
    records: list[Json] = run.use_metrics(lambda all_: [r for r in all_ if r["kind"] == kind])
    names = dict.fromkeys(name for record in records for name in record if name != "kind")
    return pa.table({name: _column([record.get(name) for record in records]) for name in names})


def _column(values: list[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):  # a file that was changed may hold anything
        return pa.array([None if value is None else str(value) for value in values], pa.string())
