"""What the rows of tables are to a model: decided by the training rows, checked for the others."""

from typing import cast

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables.scan import Scan
from workers.data.kinds import (
    SPLITS,
    Target,
    TokenInput,
    VectorInput,
)
from workers.errors import DataError


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


def target_kind(scan: Scan) -> Target:
    """Return the kind of the targets.

    Raises DataError if a split is empty, or if rows have classes that training cannot learn.
    """
    for split in SPLITS:
        _check_not_empty(scan, split)
    spool = scan.splits["train"].spool
    return scan.targets.kind(lambda: (part.column("target") for _, part in spool.parts()))


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
    if scan.rule.key_column:  # all rows with one value are in one split
        cure += f"; or split by another column than '{scan.rule.key_column}': dataset.id"
    if split == "train":
        cure = "add rows, or lower dataset.validation_fraction and dataset.test_fraction"
    raise DataError(f"the {split} split is empty: none of {total:,} rows is in it ({how})", cure)
