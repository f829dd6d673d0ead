"""What a pass over all rows finds out about their targets, one part of the rows after the other.

From it the kind of the target is made, or the rows are refused. It imports no torch.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from workers.data.kinds import SPLITS, ClassTarget, NumberTarget, Target, class_name
from workers.data.numbers import Where
from workers.data.targets.encode import class_values, number_values, target_values, unknown_class
from workers.errors import DataError

MOST_CLASSES = 1000
"""The confusion matrix has the square of it."""
_SMALLEST_STD = 1e-100
"""A smaller one is noise of the rounding to float64."""
Value = str | int | bool
TrainTargets = Callable[[], Iterable[pa.Array]]
"""Returns the targets of the training rows again, as `TargetTally.values` returned them."""


class TargetTally(Protocol):
    """What is known so far of the targets in one column."""

    @property
    def classes(self) -> Mapping[str, Mapping[Value, int]]:
        """How many rows of each split have each class; empty if the targets are no classes."""
        ...

    def values(self, column: pa.Array, where: Where) -> pa.Array:
        """Return the targets in a column, in the form in which they are kept for a second pass.

        `where`: says which row it is, for errors.

        Raises DataError.
        """
        ...

    def add(self, split: str, targets: pa.Array, where: Where) -> None:
        """Add rows of a split. Raises DataError.

        Args:
            targets: what `values` returned, without the rows of other splits.
            where: says which row one of these is.
        """
        ...

    def kind(self, train: TrainTargets) -> Target:
        """Return the kind. Raises DataError if some rows have what training cannot learn."""
        ...


class ClassTally:
    """The classes of each split."""

    def __init__(self, column: str) -> None:
        self._column = column
        self._counts: dict[str, Counter[Value]] = {split: Counter() for split in SPLITS}
        self._first: dict[tuple[str, Value], str] = {}
        """In which row a class is first in a split."""

    @property
    def classes(self) -> Mapping[str, Mapping[Value, int]]:
        return self._counts

    def values(self, column: pa.Array, where: Where) -> pa.Array:
        return class_values(target_values(column, self._column, where), self._column, where)

    def add(self, split: str, targets: pa.Array, where: Where) -> None:
        counted = pc.value_counts(targets)
        values, counts = (counted.field(name).to_pylist() for name in ("values", "counts"))
        seen = self._counts[split]
        for value in [value for value in values if value not in seen]:
            row = targets.index(pa.scalar(value, targets.type)).as_py()
            self._first[split, value] = where(row)
        seen.update(dict(zip(values, counts, strict=True)))
        if len(seen) > MOST_CLASSES:
            raise DataError(
                f"column '{self._column}' has more than {MOST_CLASSES:,} classes",
                "name another column, or put values together into fewer. If it is a number to "
                "predict: --task regression",
            )

    def kind(self, train: TrainTargets) -> ClassTarget:
        counts = self._counts["train"]
        classes = sorted(counts)
        if len(classes) < 2:
            raise DataError(
                f"the target '{self._column}' is {classes[0]!r:.80} in all "
                f"{counts.total():,} training rows",
                "name another column: --target, or add rows of another class",
            )
        for split in SPLITS[1:]:
            if unknown := sorted(self._counts[split].keys() - counts.keys()):
                where = f"{self._first[split, unknown[0]]} ({split})"
                raise unknown_class(self._column, unknown[0], where)
        return ClassTarget(
            column=self._column,
            names=tuple(class_name(value) for value in classes),
            values=_type_name(classes[0]),
            train_counts=tuple(counts[value] for value in classes),
        )


class NumberTally:
    """Numbers need no tally: their mean and deviation take a pass of their own."""

    classes: Mapping[str, Mapping[Value, int]] = {}

    def __init__(self, column: str) -> None:
        self._column = column

    def values(self, column: pa.Array, where: Where) -> pa.Array:
        found = target_values(column, self._column, where)
        return pa.array(number_values(found, self._column, where))

    def add(self, split: str, targets: pa.Array, where: Where) -> None:
        """Do nothing."""

    def kind(self, train: TrainTargets) -> NumberTarget:
        # fsum rounds only its result, so the order of the rows does not matter.
        num_rows = sum(map(len, train()))
        mean = math.fsum(y for part in train() for y in part.to_pylist()) / num_rows
        squares = ((y - mean) ** 2 for part in train() for y in part.to_pylist())
        std = math.sqrt(math.fsum(squares) / num_rows)
        return NumberTarget(column=self._column, mean=mean, std=std if std > _SMALLEST_STD else 1.0)


TALLIES: dict[str, Callable[[str], TargetTally]] = {
    ClassTarget.task: ClassTally,
    NumberTarget.task: NumberTally,
}
"""The tally of each task, which is made for a column."""


def _type_name(value: Value) -> Literal["text", "integer", "boolean"]:
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "text"
