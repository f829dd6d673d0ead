"""Make the adding problem of Hochreiter and Schmidhuber (Long Short-Term Memory, 1997).

    python examples/adding_problem.py            # writes adding.parquet
    rnnjob submit --dataset parquet:adding.parquet

Each row is a sequence of 50 to 100 steps with two features: a value between 0 and 1, and a marker,
which is 1 at one step of the first half and at one of the second half, else 0. The target is the
sum of the two marked values. Always guessing 1 has a mean squared error of 1/6.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

SPLITS = {"train": 20_000, "validation": 2_000, "test": 2_000}
MIN_LENGTH, MAX_LENGTH = 50, 100


def uniform(source: np.random.Philox, num: int) -> NDArray[np.float64]:
    """Return numbers in [0, 1). They come from raw words, which numpy promises never to change."""
    words: NDArray[np.uint64] = source.random_raw(num)
    numbers: NDArray[np.float64] = (words >> np.uint64(11)) * 2.0**-53
    return numbers


def make_rows(num_rows: int, seed: int) -> pa.Table:
    """Return a table with the columns `inputs` and `target`."""
    source = np.random.Philox(seed)
    lengths = MIN_LENGTH + (uniform(source, num_rows) * (MAX_LENGTH - MIN_LENGTH + 1)).astype(int)
    starts = lengths.cumsum() - lengths
    values = uniform(source, int(lengths.sum())).astype(np.float32)
    markers = np.zeros_like(values)
    halves = lengths // 2
    first = starts + (uniform(source, num_rows) * halves).astype(int)
    second = starts + halves + (uniform(source, num_rows) * (lengths - halves)).astype(int)
    markers[first] = markers[second] = 1
    steps = pa.FixedSizeListArray.from_arrays(np.stack([values, markers], axis=1).ravel(), 2)
    ends = np.append(starts, lengths.sum()).astype(np.int32)
    inputs = pa.ListArray.from_arrays(ends, steps)
    return pa.table({"inputs": inputs, "target": values[first] + values[second]})


def make_table(seed: int = 0) -> pa.Table:
    """Return the rows of all splits, with a column `split`."""
    parts = []
    for number, (split, num_rows) in enumerate(SPLITS.items()):
        rows = make_rows(num_rows, seed * len(SPLITS) + number)
        parts.append(rows.append_column("split", pa.array([split] * num_rows)))
    return pa.concat_tables(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the data of the adding problem.")
    parser.add_argument("path", nargs="?", type=Path, default=Path("adding.parquet"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pq.write_table(make_table(arguments.seed), arguments.path, compression="zstd")
    print(f"{arguments.path}: {SPLITS}")


if __name__ == "__main__":
    main()
