"""Which split each row of a table belongs to.

In this order:

1. Rows of the tables that `validation` and `test` name belong to those splits.
2. The split column names the split of the other rows.
3. A split that neither names takes its fraction out of the training rows: those whose hash is low.

The hash is that of the row's group, else of its id, else of its content. So a row keeps its split
when others are added, and equal rows are never on two sides.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables.roles import Roles
from workers.data.kinds import SPLITS
from workers.data.sequences import Where
from workers.errors import DataError, InputError

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
            "validation": self.options.validation_fraction,
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
    def _uris(self) -> dict[str, str]:
        uris = {"validation": self.options.validation, "test": self.options.test}
        return {split: uri for split, uri in uris.items() if uri}

    def split(self, named: str | None, key: bytes) -> str:
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

    def check_group(self, group: bytes, split: str, where: Where, row: int) -> None:
        """Raise DataError if another row of the group is in another split."""
        other, seen = self._groups.setdefault(group, (split, where(row)))
        if other != split:
            name = group.decode(errors="replace").partition(":")[2]
            raise DataError(
                f"group {name!r:.60} has a row in {split} ({where(row)}), and one in {other} "
                f"({seen})",
                "put all rows of a group into one split, or --set dataset.group=null",
            )

    def described(self) -> Mapping[str, str]:
        """Return, for each split, how its rows were told from others, for the record."""
        column = self.roles.group or self.roles.id
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


def key_bytes(values: Sequence[object], column: str, where: Where) -> list[bytes]:
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
