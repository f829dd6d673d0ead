"""Parquet files of sequences for tests, and the rows that are cut of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.prepared import PreparedData
from orchestrator.datasets.tables.prepare import prepare_tables

EXPLICIT = ["train", "train", "validation", "test"]


def write(path: Path, columns: Any, **more: Any) -> Path:
    """Write a Parquet file of columns or of a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path, **more)
    return path


def cut(
    uri: Path | str, as_tokens: bool = False, num_shards: int = 1, **options: Any
) -> PreparedData:
    """Cut the tables of a URI, and check every shard."""
    checked = TableOptions.model_validate(options)
    data = prepare_tables(f"parquet:{uri}", checked, as_tokens, num_shards)
    data.verify()
    return data


def sequences(num_rows: int, num_features: int = 2, seed: int = 0) -> list[list[list[float]]]:
    """Return sequences of 1 to 5 vectors, in numbers that float32 has."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 6, num_rows)
    return [
        random.normal(size=(length, num_features)).astype(np.float32).tolist() for length in lengths
    ]


def rows(num_rows: int = 12, **more: Any) -> dict[str, Any]:
    """Return columns x, y and split: two classes, and rows of each split."""
    columns = {
        "x": sequences(num_rows),
        "y": [("no", "yes")[row // 4 % 2] for row in range(num_rows)],
        "split": [EXPLICIT[row % 4] for row in range(num_rows)],
    }
    return {**columns, **more}
