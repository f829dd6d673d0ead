"""Time steps that fit in memory, one row each, put together to sequences.

M time steps, N sequences.
"""

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from orchestrator.datasets.importing.buckets import KEY
from orchestrator.datasets.importing.csv_file import CsvFiles
from workers.errors import DataError

PLACE, TIME = "__place__", "__time__"
FILE_SHIFT = 40
"""A place is the number of a file, times 2 to this power, plus the number of the row in it."""


class Steps:
    """The time steps of whole sequences, sorted by sequence and within it by time.

    Sequences are in the order in which they begin in the files.
    """

    def __init__(self, table: pa.Table, files: CsvFiles) -> None:
        """Sort the rows. Raises DataError if a sequence has two steps at one time."""
        self._files = files
        encoded = table.column(KEY).combine_chunks().dictionary_encode()
        self.ids = encoded.dictionary
        codes_M = encoded.indices.to_numpy()
        self.lengths_N: NDArray[np.int64] = np.bincount(codes_M, minlength=len(self.ids))
        self.num_unordered = 0
        """How many sequences were not sorted by time."""
        if TIME in table.column_names:
            times_M = _numbers(table.column(TIME))
            order = np.lexsort((times_M, codes_M))
            self._check_times(times_M[order], table.take(order))
            self.num_unordered = _count_unordered(times_M, codes_M)
        else:
            order = np.argsort(codes_M, kind="stable")
        self._table = table.take(order)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        starts: NDArray[np.int64] = np.cumsum(self.lengths_N) - self.lengths_N
        return starts

    def column(self, name: str) -> pa.Array:
        """Return the values of a column at all steps."""
        return self._table.column(name).combine_chunks()

    def constant(self, name: str) -> pa.Array:
        """Return the one value of a column in each sequence; null if all its cells are empty.

        Raises DataError if a sequence has several values.
        """
        encoded = self.column(name).dictionary_encode()
        codes_M = pc.fill_null(encoded.indices, -1).to_numpy()
        highest_N = np.maximum.reduceat(codes_M, self._starts)
        lowest_N = np.minimum.reduceat(np.where(codes_M < 0, 2**31 - 1, codes_M), self._starts)
        several = np.flatnonzero(lowest_N < highest_N)
        if len(several):
            low, high = (encoded.dictionary[int(c[several[0]])] for c in (lowest_N, highest_N))
            raise DataError(
                f"sequence '{self.ids[int(several[0])]}' has several values in the column "
                f"'{name}': {low} and {high}",
                "the column of a sequence's target, or one that is kept, must have one value for "
                "all its time steps",
            )
        found = pa.array(highest_N, mask=highest_N < 0)
        return encoded.dictionary.take(found)

    def _check_times(self, times_M: NDArray[Any], table: pa.Table) -> None:
        """Raise DataError if two sorted steps of one sequence have the same time."""
        is_first_M = np.zeros(len(times_M), bool)
        is_first_M[self._starts] = True
        equal = np.flatnonzero((times_M[1:] == times_M[:-1]) & ~is_first_M[1:])
        if len(equal):
            first, second = (table.slice(int(equal[0]) + offset, 1) for offset in (0, 1))
            raise DataError(
                f"sequence '{first[KEY][0]}' has two time steps at the time {first[TIME][0]}: "
                f"{self._where(first)} and {self._where(second)}",
                "remove one of them, or name a column that tells sequences apart: --id",
            )

    def _where(self, step: pa.Table) -> str:
        place = step[PLACE][0].as_py()
        return f"{self._files.paths[place >> FILE_SHIFT]}, row {place % 2**FILE_SHIFT}"


def _numbers(times: pa.ChunkedArray) -> NDArray[Any]:
    """Return times as numbers that can be compared."""
    is_number = pa.types.is_integer(times.type) or pa.types.is_floating(times.type)
    numbers: NDArray[Any] = (times if is_number else times.cast(pa.int64())).to_numpy()
    return numbers


def _count_unordered(times_M: NDArray[Any], codes_M: NDArray[np.int32]) -> int:
    """Return how many sequences have a step whose time is before that of the step before it."""
    order = np.argsort(codes_M, kind="stable")
    times_M, codes_M = times_M[order], codes_M[order]
    falls_M = (times_M[1:] < times_M[:-1]) & (codes_M[1:] == codes_M[:-1])
    return len(np.unique(codes_M[1:][falls_M]))
