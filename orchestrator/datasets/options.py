"""How the rows of a user's own tables become sequences with targets: keys of the spec."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from orchestrator.datasets.names import TABLE_PREFIX as TABLE_PREFIX
from workers.data.base import Config, Fraction, PositiveInt

EMBEDDING_SIZE = 32
"""What is proposed as `model.embedding_size` for tokens."""
Name = Annotated[str, Field(min_length=1)]


def _as_tuple(value: Any) -> Any:
    """Return the names in a text, which are parted by commas."""
    return tuple(part.strip() for part in value.split(",")) if isinstance(value, str) else value


def _without_prefix(value: Any) -> Any:
    """Accept a URI as it is written behind --dataset, too: `parquet:URI`."""
    return value.removeprefix(TABLE_PREFIX) if isinstance(value, str) else value


Uri = Annotated[Name, BeforeValidator(_without_prefix)]


class TableOptions(Config):
    """What decides how tables are read. Only the data sets named `parquet:URI` have these keys."""

    inputs: Annotated[tuple[Name, ...], BeforeValidator(_as_tuple)] = ()
    """The column with the sequences, or list columns of equal length, each of which is a feature.
    Empty: the only columns that can be it."""
    target: Name | None = None
    """The column to predict. Null: the only column that can be it."""
    task: Literal["auto", "classification", "regression"] = "auto"
    """`auto`: texts, integers and booleans are classes, other numbers are a regression."""
    validation: Uri | None = None
    """The URI of tables with the validation rows, if they are separate."""
    test: Uri | None = None
    """The URI of tables with the test rows, if they are separate."""
    split: Name | None = None
    """The column that names each row's split: train, validation or test. Null: a column named
    `split`, if there is one."""
    validation_fraction: Fraction | Literal["auto"] = "auto"
    """The share of the rows, or of the groups, that are held out for validation if nothing else
    names them. `auto`: 0.1, or none if the table has fewer than 1,000 rows: then each of them says
    more in training than in the choice of an epoch."""
    test_fraction: Fraction = 0.1
    """The share of the rows, or of the groups, that are for the test if nothing else names them."""
    id: Name | None = None
    """The column that identifies a row. Its hash decides the row's split, so that a row keeps its
    split when others are added. Null: a column named `id`, if there is one; without any, the hash
    of the row's content decides."""
    group: Name | None = None
    """The column that says to whom or what a row belongs, such as a patient or a device. All rows
    of a group are in one split."""
    missing: Literal["error", "zero"] = "error"
    """Whether a null, NaN or infinite number is an error, or becomes 0 after normalization."""
    min_count: PositiveInt = 1
    """A token that the training rows have fewer times is unknown."""
    max_length: PositiveInt | None = None
    """The most time steps of a sequence."""
    truncate: Literal["error", "head", "tail"] = "error"
    """Whether a longer sequence is an error, or keeps its first or its last time steps."""
