"""Which columns of a table can be what, told from their Arrow types alone. It imports no torch."""

from typing import Literal

import pyarrow as pa
import pyarrow.types as types

Family = Literal["text", "integer", "boolean", "float", "other"]
"""What single values are. Decimals are floats; a dictionary's values count, not its numbers."""
Form = Literal["vectors", "numbers", "integers", "texts"]
"""What the sequences of a column consist of. Booleans are numbers. Integers may be tokens."""


def family(kind: pa.DataType) -> Family:
    """Return what the values of a column that holds no lists are."""
    if types.is_dictionary(kind):
        return family(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "text"
    if types.is_integer(kind):
        return "integer"
    if types.is_boolean(kind):
        return "boolean"
    # A column without a single value has the type null. It can still be a number.
    if types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        return "float"
    return "other"


def is_list(kind: pa.DataType) -> bool:
    """Return whether each value of a column is a list of whatever."""
    return (
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
        or isinstance(kind, pa.FixedShapeTensorType)
    )


def innermost(kind: pa.DataType) -> pa.DataType:
    """Return what lists, and lists of lists, hold in the end."""
    while is_list(kind):
        kind = kind.value_type
    return kind


def form(kind: pa.DataType) -> Form | None:
    """Return what the sequences of a column consist of, or None if it holds no sequences."""
    if isinstance(kind, pa.FixedShapeTensorType):
        is_number = family(kind.value_type) in ("integer", "float", "boolean")
        depth = len(kind.shape) if is_number else 0
        return {1: _form_of(family(kind.value_type)), 2: "vectors"}.get(depth)
    if not is_list(kind):
        return None
    item = kind.value_type
    if isinstance(item, pa.FixedShapeTensorType):
        return "vectors" if form(item) in ("numbers", "integers") else None
    if is_list(item):
        return "vectors" if family(item.value_type) in ("integer", "float", "boolean") else None
    return _form_of(family(item))


def _form_of(items: Family) -> Form | None:
    if items == "text":
        return "texts"
    if items == "integer":
        return "integers"
    return None if items == "other" else "numbers"
