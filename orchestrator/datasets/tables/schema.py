"""The columns of a table by name: their types, and whether all files have the same."""

import difflib
import re
from collections.abc import Sequence

import pyarrow as pa

from workers.data.columns import Family, Form, family, form
from workers.errors import DataError

_SHOWN = 12
"""The most columns that an error lists."""


def check_alike(
    schema: pa.Schema, name: str, columns: Sequence[str], first: pa.Schema, first_name: str
) -> None:
    """Raise DataError if a column that is read means something else in another file."""
    for column in columns:
        places = schema.get_all_field_indices(column)
        here = schema.field(places[0]).type if len(places) == 1 else None
        there = first.field(column).type
        if here is None or _meaning(here) != _meaning(there):
            what = "is missing" if here is None else f"is {shown_type(here)}"
            raise DataError(
                f"column '{column}' {what} in {name}, and {shown_type(there)} in {first_name}",
                "give all files the same columns, or name only files that have them",
            )


def _meaning(kind: pa.DataType) -> tuple[Form | None, Family]:
    """Return what must be the same in all files. Lists of integers and floats are both numbers."""
    found = form(kind)
    return ("numbers" if found == "integers" else found), family(kind)


def type_of(schema: pa.Schema, name: str, flag: str) -> pa.DataType:
    """Return the type of a named column. Raises DataError if there is not just one."""
    places = schema.get_all_field_indices(name)
    if len(places) > 1:
        raise DataError(f"{len(places)} columns are named '{name}'", "rename all but one")
    if not places:
        raise DataError(f"no column '{name}' is in the table ({flag})", near(name, schema.names))
    found: pa.DataType = schema.field(places[0]).type
    return found


def near(name: str, names: Sequence[str]) -> str:
    """Return the cure for a name that does not exist: the nearest name, or all names."""
    lower = {each.lower(): each for each in names}
    found = difflib.get_close_matches(name.lower(), list(lower), 1, cutoff=0.6)
    return f"did you mean '{lower[found[0]]}'?" if found else f"columns: {listed(names)}"


def shown_type(kind: pa.DataType) -> str:
    """Return an Arrow type as text, without the names that Parquet gives to the items of lists."""
    return re.sub(r"\b(element|item)( not null)?: ", "", str(kind))


def described(schema: pa.Schema) -> list[str]:
    """Return each column with its type."""
    return [f"{field.name} ({shown_type(field.type)})" for field in schema]


def listed(names: Sequence[str]) -> str:
    """Return names for an error."""
    more = len(names) - _SHOWN
    return (", ".join(names[:_SHOWN]) or "none") + (f" and {more} more" if more > 0 else "")
