"""What is in each column of tables, whether or not it can be trained on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from orchestrator.datasets.tables.files import Tables
from orchestrator.datasets.tables.schema import shown_type
from workers.data.columns import family, innermost, is_list

_MOST_VALUES = 1000
"""With more different values than these, a column's values are not counted."""
_MOST_BINS = 10


@dataclass
class Column:
    """What was counted of a column."""

    name: str
    kind: pa.DataType
    num_nulls: int = 0
    num_missing: int = 0
    """Numbers or tokens in lists that are null, NaN or infinite."""
    lengths: Counter[int] = field(default_factory=Counter)
    """How many lists have how many time steps."""
    values: Counter[Any] | None = field(default_factory=Counter)
    """How often each value is there; None if there are too many."""

    @property
    def holds_lists(self) -> bool:
        return is_list(self.kind)

    def add(self, values: pa.Array) -> None:
        self.num_nulls += values.null_count
        if isinstance(values, pa.ExtensionArray):
            values = values.storage
        if self.holds_lists:
            self._add_lists(values)
        elif family(values.type) != "other" and self.values is not None:
            counted = pc.value_counts(_decoded(values).drop_null())
            columns = (counted.field(part).to_pylist() for part in ("values", "counts"))
            self.values.update(dict(zip(*columns, strict=True)))
            self.values = self.values if len(self.values) <= _MOST_VALUES else None

    def _add_lists(self, values: pa.Array) -> None:
        lengths = pc.list_value_length(values).drop_null()
        if isinstance(self.kind, pa.FixedShapeTensorType):
            self.lengths[self.kind.shape[0]] += len(lengths)
        else:
            self.lengths.update(np.asarray(lengths).tolist())
        while is_list(values.type):
            values = values.flatten()
            values = values.storage if isinstance(values, pa.ExtensionArray) else values
        self.num_missing += values.null_count
        if pa.types.is_floating(values.type):
            present = values.drop_null().to_numpy(zero_copy_only=False)
            self.num_missing += int((~np.isfinite(present)).sum())

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "name": self.name, "type": shown_type(self.kind), "nulls": self.num_nulls
        }  # fmt: skip
        if self.holds_lists:
            content |= {"missing": self.num_missing, "lengths": histogram(self.lengths)}
        elif family(self.kind) != "other":
            content["distinct"] = None if self.values is None else len(self.values)
        return content


def column_statistics(tables: Tables) -> tuple[int, list[Column]]:
    """Return the number of rows, and what each column of the first file holds in all files.

    Raises DataError if a file cannot be read.
    """
    columns: dict[str, Column] = {}
    num_rows = 0
    for file in tables.files:
        with tables.open(file) as opened:
            schema = opened.schema_arrow
            num_rows += opened.metadata.num_rows
        if not columns:
            columns = {each.name: Column(each.name, each.type) for each in schema}
        here = [name for name in columns if _can_read(schema, name)]
        for _, batch in tables.batches(file, here):
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                if columns[name].holds_lists == is_list(values.type):
                    columns[name].add(values)
    return num_rows, list(columns.values())


def _can_read(schema: pa.Schema, name: str) -> bool:
    places = schema.get_all_field_indices(name)
    return len(places) == 1 and not pa.types.is_nested(innermost(schema.field(places[0]).type))


def histogram(lengths: Counter[int]) -> dict[str, Any] | None:
    """Return how many sequences have how many time steps, in at most ten ranges of one width."""
    if not lengths:
        return None
    low, high = min(lengths), max(lengths)
    width = -(-(high - low + 1) // _MOST_BINS)
    bins: Counter[int] = Counter()
    for length, count in lengths.items():
        bins[(length - low) // width] += count
    total = sum(lengths.values())
    return {
        "min": low,
        "max": high,
        "mean": sum(length * count for length, count in lengths.items()) / total,
        "histogram": _ranges(low, high, width, bins),
    }


def _ranges(low: int, high: int, width: int, bins: Counter[int]) -> Sequence[dict[str, int]]:
    return [
        {"from": first, "to": min(first + width - 1, high), "rows": bins[number]}
        for number, first in enumerate(range(low, high + 1, width))
    ]


def _decoded(values: pa.Array) -> pa.Array:
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values
