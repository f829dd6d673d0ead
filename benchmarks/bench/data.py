"""Write the rows that the peers train on as Parquet files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data import data_dir
from orchestrator.datasets.idx import Split
from orchestrator.datasets.prepare import default_cache
from orchestrator.datasets.sources import find_source


def write_rows(dataset: str, folder: Path) -> None:
    """Write train.parquet and test.parquet: images as lists of 784 numbers, and labels."""
    folder.mkdir()
    splits = find_source(dataset, data_dir(), default_cache()).read()
    for name, split in zip(("train", "test"), splits, strict=True):
        pq.write_table(_table(split), folder / f"{name}.parquet")


def _table(split: Split) -> pa.Table:
    pixels = split.images.reshape(len(split.labels), -1)
    images = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), pixels.shape[1])
    return pa.table({"image": images, "label": pa.array(split.labels.astype("int64"))})
