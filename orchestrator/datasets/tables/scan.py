"""One pass over all rows of the tables: check each row, find its split, and count.

N rows, M time steps of all of them, F features.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.progress import Tell, read_ahead, tell_nobody
from orchestrator.datasets.tables.files import TableFile, Tables, reading
from orchestrator.datasets.tables.moments import Moments
from orchestrator.datasets.tables.roles import find_roles
from orchestrator.datasets.tables.schema import check_alike
from orchestrator.datasets.tables.splits import SplitRule, split_of
from orchestrator.datasets.tables.spool import Spool
from workers.data.kinds import SPLITS
from workers.data.numbers import Where, decoded
from workers.data.sequences import Sequences, as_lists, ragged, tokens, truncated, vectors
from workers.data.targets.tallies import TALLIES
from workers.errors import DataError

_MOST_FEATURES = 2**13
_MOST_TOKENS = 2**20


@dataclass
class Scanned:
    """All rows of one split, and what was counted."""

    spool: Spool
    shortest: int = 2**62
    longest: int = 0


class Scan:
    """The pass, and what it found. Memory for one part of a file is enough."""

    def __init__(
        self,
        tables: dict[str, Tables],
        options: TableOptions,
        as_tokens: bool,
        scratch: Path,
        tell: Tell = tell_nobody,
    ) -> None:
        """Read all rows.

        Args:
            tables: the tables by the split that they hold; those under "train" are split.
            as_tokens: whether lists of integers are tokens.
            scratch: an empty folder that the rows are written to.
            tell: is told how far the pass is.

        Raises DataError or InputError.
        """
        self._options = options
        main = tables["train"]
        self._first_file = main.files[0]
        self._schema = _schema(main, self._first_file)
        self.roles = find_roles(self._schema, options, as_tokens)
        self.targets = TALLIES[self.roles.task](self.roles.target)
        self.splits = {split: Scanned(Spool(scratch / f"{split}.arrow")) for split in SPLITS}
        self.token_counts: Counter[str | int] = Counter()
        self.num_features = 0
        self.moments: Moments | None = None
        self.rule = SplitRule(self.roles, self._named_splits(main), options, _num_rows(main))
        self._tell, self._done = tell, 0
        self._total = sum(_num_rows(source) for source in tables.values())
        for split, source in tables.items():
            for file in source.files:
                self._read(source, file, None if split == "train" else split)
        for scanned in self.splits.values():
            scanned.spool.close()

    @property
    def notes(self) -> tuple[str, ...]:
        """What was inferred and decided, in sentences."""
        return (*self.roles.notes, *self.rule.notes)

    def _named_splits(self, main: Tables) -> frozenset[str]:
        """Return the splits that the split column names."""
        if (column := self.roles.split) is None:
            return frozenset()
        found: set[str] = set()
        for file in main.files:
            self._check_alike(main, file, [column])
            for first, batch in main.batches(file, [column]):
                where = _where(file, first)
                values = batch.column(0)
                texts = decoded(values).to_pylist()
                for value in set(texts):
                    found.add(split_of(value, column, where(texts.index(value))))
        return frozenset(found)

    def _check_alike(self, source: Tables, file: TableFile, columns: Sequence[str]) -> None:
        check_alike(_schema(source, file), file.name, columns, self._schema, self._first_file.name)

    def _read(self, source: Tables, file: TableFile, only: str | None) -> None:
        columns = self.roles.columns(is_split=only is None)
        self._check_alike(source, file, columns)
        for first, batch in read_ahead(source.batches(file, columns)):
            where = _where(file, first)
            with reading(source.uri, file.name):
                table = {name: batch.column(name) for name in batch.schema.names}
                rows, split_N = self._checked(table, where, only)
            for number, split in enumerate(SPLITS):
                index_N = np.flatnonzero(split_N == number)
                if len(index_N):
                    self._count(split, rows.take(pa.array(index_N)), index_N, where)
            self._done += batch.num_rows
            self._tell("reading rows", self._done, self._total)

    def _checked(
        self, table: dict[str, pa.Array], where: Where, only: str | None
    ) -> tuple[pa.RecordBatch, NDArray[np.int8]]:
        """Return the inputs and targets of some rows, and the number of the split of each."""
        roles, options = self.roles, self._options
        inputs = [table[name] for name in roles.inputs]
        if roles.is_tokens:
            whole = tokens(inputs[0], roles.inputs[0], options.missing, where)
        else:
            whole = vectors(inputs, roles.inputs, options.missing, where)
            self._check_width(whole, where)
        targets = self.targets.values(table[roles.target], where)
        split_N = self.rule.splits_of(table, whole, targets, where, only)
        cut = truncated(whole, options.max_length, options.truncate, roles.inputs[0], where)
        return pa.record_batch({"inputs": as_lists(cut), "target": targets}), split_N

    def _check_width(self, found: Sequences, where: Where) -> None:
        assert isinstance(found.steps, np.ndarray)
        width = found.steps.shape[1]
        self.num_features = self.num_features or width
        self.moments = self.moments or Moments(width)
        name = self.roles.inputs[0]
        if width > _MOST_FEATURES:
            raise DataError(
                f"column '{name}' has {width:,} features, and {_MOST_FEATURES:,} are the most",
                "make the vectors shorter",
            )
        if width != self.num_features:
            raise ragged(name, width, self.num_features, where(0))

    def _count(
        self, split: str, rows: pa.RecordBatch, index_N: NDArray[np.int64], where: Where
    ) -> None:
        scanned = self.splits[split]
        scanned.spool.add(rows)
        inputs, targets = rows.column("inputs"), rows.column("target")
        sizes_N = np.asarray(inputs.value_lengths())
        lengths_N = sizes_N // (self.num_features or 1)
        scanned.shortest = min(scanned.shortest, int(lengths_N.min()))
        scanned.longest = max(scanned.longest, int(lengths_N.max()))
        flat = inputs.flatten()
        if split == "train" and self.roles.is_tokens:
            self.token_counts.update(_counts(flat))
            if len(self.token_counts) > _MOST_TOKENS:
                raise DataError(
                    f"column '{self.roles.inputs[0]}' has more than {_MOST_TOKENS:,} tokens",
                    "name another column, or put values together into fewer",
                )
        elif split == "train" and self.moments is not None:
            self.moments.add(flat.to_numpy().reshape(-1, self.num_features))
        self.targets.add(split, targets, lambda row: where(int(index_N[row])))


def _num_rows(tables: Tables) -> int:
    num_rows = 0
    for file in tables.files:
        with tables.open(file) as opened:
            num_rows += opened.metadata.num_rows
    return num_rows


def _schema(tables: Tables, file: TableFile) -> pa.Schema:
    with tables.open(file) as opened, reading(tables.uri, file.name):
        return opened.schema_arrow


def _where(file: TableFile, first: int) -> Where:
    return lambda row: f"row {first + row:,} (from 0) of {file.name}"


def _counts(values: pa.Array) -> dict[str | int | bool, int]:
    """Return how often each value is there. Nulls do not count."""
    counted = pc.value_counts(values.drop_null())
    found = zip(
        counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
    )
    return dict(found)
