"""Write the JapaneseVowels data, which come with the package sktime, as Parquet.

    pip install 'rnnjob[examples]'
    python examples/japanese_vowels.py           # writes vowels-train.parquet, vowels-test.parquet
    rnnjob submit --dataset parquet:vowels-train.parquet --test vowels-test.parquet

Nine men say the vowels /ae/. A row is one utterance: 7 to 29 steps with 12 coefficients of a linear
prediction analysis. The target is the speaker. The splits are the original ones: 270 and 370 rows.

M. Kudo, J. Toyama, M. Shimbo: Multidimensional curve classification using passing-through regions.
Pattern Recognition Letters 20, 1999. https://archive.ics.uci.edu/dataset/128/japanese+vowels.
The form is that of the UEA archive (Bagnall et al., 2018), https://www.timeseriesclassification.com.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def package_folder() -> Path:
    """Return the folder of sktime. It is not imported, so only its files need to be installed."""
    spec = importlib.util.find_spec("sktime")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("Error: sktime is not installed\nTry: pip install 'rnnjob[examples]'")
    return Path(spec.submodule_search_locations[0])


def read_ts(path: Path) -> pa.Table:
    """Return a file of UEA's format `ts` as a table with the columns `id`, `inputs`, `speaker`.

    Behind lines that begin with # or @, each line is a row: for each feature its numbers, separated
    by commas, then the class, all separated by colons.
    """
    inputs, speakers = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and line[0] not in "#@":
            *features, speaker = line.split(":")
            columns = [np.array(feature.split(","), np.float32) for feature in features]
            inputs.append(list(np.stack(columns, axis=1)))
            speakers.append(f"speaker {speaker.strip()}")
    kind = pa.list_(pa.list_(pa.float32(), len(inputs[0][0])))
    ids = [f"{path.stem}-{number:03d}" for number in range(len(inputs))]
    return pa.table({"id": ids, "inputs": pa.array(inputs, kind), "speaker": speakers})


def main() -> None:
    parser = argparse.ArgumentParser(description="Write JapaneseVowels as Parquet.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    folder = parser.parse_args().folder
    source = package_folder() / "datasets" / "data" / "JapaneseVowels"
    for split in ("train", "test"):
        table = read_ts(source / f"JapaneseVowels_{split.upper()}.ts")
        path = folder / f"vowels-{split}.parquet"
        pq.write_table(table, path, compression="zstd")
        print(f"{path}: {table.num_rows} rows")


if __name__ == "__main__":
    main()
