"""What the rows of tables are to a model: decided by the training rows, checked for the others."""

import math
from collections.abc import Iterator
from typing import Literal, cast

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables.scan import Scan
from orchestrator.datasets.tables.spool import Spool
from workers.data.encode import unknown_class
from workers.data.kinds import (
    SPLITS,
    ClassTarget,
    NumberTarget,
    TokenInput,
    VectorInput,
    class_name,
)
from workers.errors import DataError

_SMALLEST_STD = 1e-100
"""A smaller one is noise of the rounding to float64."""


def input_kind(scan: Scan, options: TableOptions) -> VectorInput | TokenInput:
    """Return the kind of the inputs. Raises DataError if no token is frequent enough."""
    filled = [scanned for scanned in scan.splits.values() if scanned.spool.num_rows]
    shortest, longest = min(s.shortest for s in filled), max(s.longest for s in filled)
    if scan.moments is not None:
        moments = scan.moments.result()
        return VectorInput(
            columns=scan.roles.inputs,
            num_features=scan.num_features,
            min_length=shortest,
            max_length=longest,
            mean=tuple(mean for mean, _ in moments),
            std=tuple(std for _, std in moments),
            missing=options.missing,
            limit=options.max_length,
            truncate=options.truncate,
        )
    counts = scan.token_counts
    vocabulary = sorted(token for token, count in counts.items() if count >= options.min_count)
    if not vocabulary:
        raise DataError(
            f"no token of column '{scan.roles.inputs[0]}' is {options.min_count} times in the "
            "training rows",
            "lower dataset.min_count",
        )
    return TokenInput(
        column=scan.roles.inputs[0],
        min_length=shortest,
        max_length=longest,
        # All are texts, or all are integers: a column has one type.
        vocabulary=cast("tuple[str, ...] | tuple[int, ...]", tuple(vocabulary)),
        missing=options.missing,
        limit=options.max_length,
        truncate=options.truncate,
    )


def target_kind(scan: Scan) -> ClassTarget | NumberTarget:
    """Return the kind of the targets.

    Raises DataError if a split is empty, or if rows have classes that training cannot learn.
    """
    for split in SPLITS:
        _check_not_empty(scan, split)
    column = scan.roles.target
    if scan.roles.task == "regression":
        return _number_target(scan, column)
    counts = scan.splits["train"].classes
    classes = sorted(counts)
    if len(classes) < 2:
        raise DataError(
            f"the target '{column}' is {classes[0]!r:.80} in all "
            f"{scan.splits['train'].spool.num_rows:,} training rows",
            "name another column: --target, or add rows of another class",
        )
    for split in SPLITS[1:]:
        seen = scan.splits[split]
        if unknown := sorted(seen.classes.keys() - counts.keys()):
            raise unknown_class(column, unknown[0], f"{seen.first_of_class[unknown[0]]} ({split})")
    return ClassTarget(
        column=column,
        names=tuple(class_name(value) for value in classes),
        values=_values(classes[0]),
        train_counts=tuple(counts[value] for value in classes),
    )


def _number_target(scan: Scan, column: str) -> NumberTarget:
    # fsum rounds only its result, so the order of the rows does not matter.
    spool = scan.splits["train"].spool
    mean = math.fsum(_targets(spool)) / spool.num_rows
    std = math.sqrt(math.fsum((y - mean) ** 2 for y in _targets(spool)) / spool.num_rows)
    return NumberTarget(column=column, mean=mean, std=std if std > _SMALLEST_STD else 1.0)


def _targets(spool: Spool) -> Iterator[float]:
    for _, part in spool.parts():
        yield from part.column("target").to_pylist()


def _values(value: str | int | bool) -> Literal["text", "integer", "boolean"]:
    if isinstance(value, bool):
        return "boolean"
    return "integer" if isinstance(value, int) else "text"


def _check_not_empty(scan: Scan, split: str) -> None:
    rule, num_rows = scan.rule, scan.splits[split].spool.num_rows
    total = sum(scanned.spool.num_rows for scanned in scan.splits.values())
    how = rule.described().get(split)
    if num_rows or (split == "validation" and how is None):
        return
    if how is None:
        raise DataError(
            f"the {split} split is empty: dataset.{split}_fraction is 0",
            f"name its rows: --set dataset.{split}=URI, or --set dataset.{split}_fraction=0.1",
        )
    cure = f"raise dataset.{split}_fraction, or name the rows: --set dataset.{split}=URI"
    if split == "train":
        cure = "add rows, or lower dataset.validation_fraction and dataset.test_fraction"
    raise DataError(f"the {split} split is empty: none of {total:,} rows is in it ({how})", cure)
