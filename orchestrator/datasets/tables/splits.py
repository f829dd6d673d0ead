"""Which split each row of a table belongs to.

In this order:

1. Rows of the tables that `validation` and `test` name belong to those splits.
2. The split column names the split of the other rows.
3. A split that neither names takes its fraction out of the training rows: those whose hash is low.

The hash is that of the row's group, else of its id, else of its content. So a row keeps its split
when others are added, and equal rows are never on two sides.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables.roles import Roles
from workers.data.kinds import SPLITS
from workers.data.numbers import Where, decoded
from workers.data.sequences import Sequences, as_lists
from workers.errors import DataError, InputError

_VALIDATION_SHARE, _FEW_ROWS = 0.1, 1000
_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split column may hold, in small or capital letters."""


def split_of(text: object, column: str, where: str) -> str:
    """Return the split that a value of a split column names. Raises DataError."""
    found = _NAMES.get(text.strip().lower()) if isinstance(text, str) else None
    if found is None:
        what = "null" if text is None else f"{text!r:.40}"
        raise DataError(
            f"column '{column}' is {what} in {where}, which names no split",
            f"write {', '.join(SPLITS)} into it, or name another column: --set dataset.split=...",
        )
    return found


@dataclass
class SplitRule:
    """How the rows of the first table are split."""

    roles: Roles
    named_by_column: frozenset[str]
    """The splits that the column names for some row."""
    options: TableOptions
    num_rows: int
    """The rows of the table."""
    fractions: Mapping[str, float] = field(init=False)
    """The shares of the splits that nothing else names."""
    _groups: dict[bytes, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise InputError if a split is named twice, or the fractions leave nothing."""
        for split, uri in self._uris.items():
            if split in self.named_by_column:
                raise InputError(
                    f"the {split} rows are those of {uri}, and column '{self.roles.split}' names "
                    f"{split} rows, too",
                    f"leave one out: --set dataset.{split}=null, or remove the rows",
                )
        shares = {
            "test": self.options.test_fraction,
            "validation": self._validation_share,
        }
        taken = {*self.named_by_column, *self._uris}
        self.fractions = {
            split: share for split, share in shares.items() if split not in taken and share
        }
        if sum(self.fractions.values()) >= 1:
            raise InputError(
                f"fractions of {' and '.join(map(str, self.fractions.values()))} leave no training "
                "rows",
                "lower dataset.validation_fraction or dataset.test_fraction",
            )

    @property
    def _validation_share(self) -> float:
        share = self.options.validation_fraction
        if share != "auto":
            return share
        return _VALIDATION_SHARE if self.num_rows >= _FEW_ROWS else 0.0

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided and not said, in sentences."""
        is_open = not {*self.named_by_column, *self._uris} & {"validation"}
        if self.options.validation_fraction != "auto" or self._validation_share or not is_open:
            return ()
        return (
            f"{self.num_rows:,} rows are too few to hold some out for validation, so the last "
            "weights are kept",
        )

    @property
    def _uris(self) -> dict[str, str]:
        uris = {"validation": self.options.validation, "test": self.options.test}
        return {split: uri for split, uri in uris.items() if uri}

    def splits_of(
        self,
        table: dict[str, pa.Array],
        sequences: Sequences,
        targets: pa.Array,
        where: Where,
        only: str | None,
    ) -> NDArray[np.int8]:
        """Return the number of the split of each row. Raises DataError.

        Args:
            table: the columns that were read.
            only: the split of all rows, if their table has just one.
        """
        num_rows, roles = len(targets), self.roles
        groups = None
        if roles.group is not None:
            groups = _key_bytes(decoded(table[roles.group]).to_pylist(), roles.group, where)
        if only is not None:
            splits = [only] * num_rows
        else:
            named: Sequence[str | None] = [None] * num_rows
            if roles.split is not None:
                texts = decoded(table[roles.split]).to_pylist()
                named = [split_of(text, roles.split, where(row)) for row, text in enumerate(texts)]
            if groups is not None:
                keys: Sequence[bytes] = groups
            elif roles.id is not None:
                keys = _key_bytes(decoded(table[roles.id]).to_pylist(), roles.id, where)
            elif self.fractions:
                keys = list(_contents(sequences, targets))
            else:
                keys = [b""] * num_rows
            splits = [self._split(name, key) for name, key in zip(named, keys, strict=True)]
        if groups is not None:
            for row, (group, split) in enumerate(zip(groups, splits, strict=True)):
                self._check_group(group, split, where, row)
        return np.array([SPLITS.index(split) for split in splits], np.int8)

    def _split(self, named: str | None, key: bytes) -> str:
        """Return the split of a row.

        Args:
            named: what the split column says, if there is one.
            key: the group, id or content whose hash counts.
        """
        if named is not None and named != "train":
            return named
        place = share_of(key)
        for split, share in self.fractions.items():
            if place < share:
                return split
            place -= share
        return "train"

    def _check_group(self, group: bytes, split: str, where: Where, row: int) -> None:
        """Raise DataError if another row of the group is in another split."""
        other, seen = self._groups.setdefault(group, (split, where(row)))
        if other != split:
            name = group.decode(errors="replace").partition(":")[2]
            raise DataError(
                f"group {name!r:.60} is in two splits: {split} in {where(row)}, {other} in {seen}",
                "put all rows of a group into one split, or --set dataset.group=null",
            )

    @property
    def key_column(self) -> str | None:
        """The column whose hash decides the split of a row; None if it is the row's content."""
        return self.roles.group or self.roles.id

    def described(self) -> Mapping[str, str]:
        """Return, for each split, how its rows were told from others, for the record."""
        column = self.key_column
        by = "the row's content" if column is None else f"column '{column}'"
        told = {"train": "the other rows"}
        for split in SPLITS:
            if split in self._uris:
                told[split] = f"the rows of {self._uris[split]}"
            elif split in self.named_by_column:
                told[split] = f"column '{self.roles.split}'"
            elif split in self.fractions:
                told[split] = f"a share of {self.fractions[split]:g}, by a hash of {by}"
        return told


def share_of(key: bytes) -> float:
    """Return a number within [0, 1) that is as good as random, and the same everywhere."""
    digest = hashlib.blake2b(key, digest_size=8, person=b"rnnjob split").digest()
    return int.from_bytes(digest, "big") / 2**64


def _key_bytes(values: Sequence[object], column: str, where: Where) -> list[bytes]:
    """Return ids or groups as bytes. The number 5 and the text 5 differ. Raises DataError."""
    keys = []
    for row, value in enumerate(values):
        if value is None:
            raise DataError(
                f"column '{column}' is null in {where(row)}, and it says in which split a row is",
                "give each row a value, or leave the row out",
            )
        keys.append(f"{type(value).__name__}:{value}".encode())
    return keys


def _contents(sequences: Sequences, targets: pa.Array) -> Iterator[bytes]:
    """Return the content of each row as bytes: the same for the same values of other types."""
    lists = as_lists(sequences)
    for inputs, target in zip(lists, targets, strict=True):
        values = inputs.values
        is_numbers = pa.types.is_floating(values.type)
        content = values.to_numpy().tobytes() if is_numbers else repr(values.to_pylist()).encode()
        yield hashlib.sha256(content).digest() + repr(target.as_py()).encode()
