"""Import files as the command line does, and read what was written."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from orchestrator.datasets.importing.csv_columns import CsvOptions
from orchestrator.datasets.importing.csv_long import read_long
from orchestrator.datasets.importing.csv_wide import read_wide
from orchestrator.datasets.importing.npz import NpzOptions, read_npz
from orchestrator.datasets.importing.sequences import Sequences
from orchestrator.datasets.importing.writer import write_sequences

Rows = list[dict[str, Any]]


def written(sequences: Sequences, folder: Path) -> Rows:
    write_sequences(sequences, str(folder / "out.parquet"), force=True)
    rows: Rows = pq.read_table(folder / "out.parquet").to_pylist()
    return rows


def long_rows(folder: Path, *texts: str, **options: Any) -> Rows:
    return written(read_long(csv_files(folder, *texts), CsvOptions(**options)), folder)


def wide_rows(folder: Path, *texts: str, **options: Any) -> Rows:
    return written(read_wide(csv_files(folder, *texts), CsvOptions(**options)), folder)


def npz_rows(path: Path, **options: Any) -> Rows:
    return written(read_npz(path, NpzOptions(**options)), path.parent)


def csv_files(folder: Path, *texts: str) -> list[Path]:
    """Write texts as the files a.csv, b.csv and so on."""
    paths = [folder / f"{name}.csv" for name, _ in zip("abcdef", texts, strict=False)]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text, newline="")
    return paths
