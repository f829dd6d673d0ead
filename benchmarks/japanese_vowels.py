"""Measure test accuracies on JapaneseVowels, and how the recipe of docs/examples.md was chosen.

    python benchmarks/japanese_vowels.py            # five seeds of each recipe in REPORTED
    python benchmarks/japanese_vowels.py --choose   # cross-validate the candidates, half an hour

`--choose` never reads the test rows. A speaker's 30 training utterances are cut into five blocks of
six, as neighbours were recorded together; each block is held out once, with three seeds. It needs
the data of the package sktime: pip install 'rnnjob[examples]'.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from examples.japanese_vowels import package_folder, read_ts  # noqa: E402

RNNJOB = str(Path(sys.executable).with_name("rnnjob"))
NUM_FOLDS, UTTERANCES = 5, 30
"""The folds, and the training rows of each speaker."""
NUM_SEEDS = 3
"""With how many seeds each fold is held out: one row more or less is 0.4% of an accuracy."""


def settings(*values: str) -> list[str]:
    return [word for value in values for word in ("--set", value)]


SMALL_STEPS = ["--epochs", "40", "--batch-size", "32", "--lr", "0.005"]
GRU = [*SMALL_STEPS, *settings("model.cell=gru", "model.dropout=0.5")]
BOTH_WAYS = [*GRU, *settings("model.bidirectional=true")]
OFFSET = settings("augment.noise=0.7", "augment.offset=0.5")
BEST = "GRU, both directions, mean and max, noise, offset"
CANDIDATES = {
    "LSTM, defaults": ["--epochs", "40", "--batch-size", "32"],
    "LSTM": [*SMALL_STEPS, *settings("model.dropout=0.5")],
    "GRU": GRU,
    "GRU, both directions": BOTH_WAYS,
    "GRU, both directions, mean": [*BOTH_WAYS, *settings("model.pooling=mean")],
    "GRU, both directions, max": [*BOTH_WAYS, *settings("model.pooling=max")],
    "GRU, both directions, max, noise": [
        *BOTH_WAYS,
        *settings("model.pooling=max", "augment.noise=1", "training.label_smoothing=0.1"),
    ],
    "GRU, both directions, max, noise, offset": [
        *BOTH_WAYS,
        *settings("model.pooling=max", "training.label_smoothing=0.1"),
        *OFFSET,
    ],
    BEST: [
        *BOTH_WAYS,
        *settings("model.pooling=mean-max", "training.label_smoothing=0.1"),
        *OFFSET,
    ],
}
REPORTED = {
    "LSTM, defaults": ["--epochs", "30", "--batch-size", "16"],
    "GRU, both directions, max": CANDIDATES["GRU, both directions, max"],
    "GRU, both directions, max, noise": CANDIDATES["GRU, both directions, max, noise"],
    BEST: CANDIDATES[BEST],
}


def result_of(train: Path, test: Path, flags: Iterable[str]) -> dict[str, float]:
    """Train on one table, and return the result, with the accuracy on the other."""
    with tempfile.TemporaryDirectory() as storage:
        done = subprocess.run(
            [
                RNNJOB, "submit", "--local", "--json", "-q", "--storage", storage,
                "--dataset", f"parquet:{train}", "--test", str(test), *flags,
            ],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout)
    return result


def write_folds(rows: pa.Table, folder: Path) -> list[tuple[Path, Path]]:
    """Write the training and the held-out rows of each fold."""
    block = UTTERANCES // NUM_FOLDS
    fold_of_row = [row % UTTERANCES // block for row in range(rows.num_rows)]
    paths = []
    for fold in range(NUM_FOLDS):
        is_held_out = pa.array([number == fold for number in fold_of_row])
        pair = folder / f"fit-{fold}.parquet", folder / f"held-out-{fold}.parquet"
        pq.write_table(rows.filter(pc.invert(is_held_out)), pair[0])
        pq.write_table(rows.filter(is_held_out), pair[1])
        paths.append(pair)
    return paths


def choose(train: pa.Table, folder: Path) -> None:
    """Print the accuracy of each candidate on the held-out folds."""
    folds = write_folds(train, folder)
    for name, flags in CANDIDATES.items():
        results = [
            result_of(*fold, [*flags, *settings(f"training.seed={seed}")])
            for seed in range(NUM_SEEDS)
            for fold in folds
        ]
        accuracy = statistics.mean(result["test_accuracy"] for result in results)
        loss = statistics.mean(result["test_loss"] for result in results)
        print(f"{name}: held out {accuracy:.2%}, loss {loss:.3f}", flush=True)


def report(train: Path, test: Path) -> None:
    """Print the test accuracy of each reported recipe with five seeds."""
    for name, flags in REPORTED.items():
        seeds = [
            result_of(train, test, [*flags, *settings(f"training.seed={seed}")])["test_accuracy"]
            for seed in range(5)
        ]
        each = ", ".join(f"{accuracy:.2%}" for accuracy in seeds)
        print(f"{name}: {statistics.mean(seeds):.2%} (seeds 0 to 4: {each})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure accuracies on JapaneseVowels.")
    parser.add_argument("--choose", action="store_true", help="cross-validate the candidates")
    is_choice = parser.parse_args().choose
    source = package_folder() / "datasets" / "data" / "JapaneseVowels"
    train, test = (read_ts(source / f"JapaneseVowels_{split}.ts") for split in ("TRAIN", "TEST"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if is_choice:
            choose(train, folder)
            return
        pq.write_table(train, folder / "train.parquet")
        pq.write_table(test, folder / "test.parquet")
        report(folder / "train.parquet", folder / "test.parquet")


if __name__ == "__main__":
    main()
