"""Make sequences of brackets of three kinds, and say of each whether it is balanced.

    python examples/brackets.py                  # writes brackets.parquet
    rnnjob submit --dataset parquet:brackets.parquet --set model.embedding_size=16

A row has 2 to 100 tokens, and brackets are nested up to eight deep: the bounded Dyck language of
Hewitt et al. (RNNs can generate bounded hierarchical languages with optimal memory, 2020). There
are as many balanced as unbalanced rows of each length. An unbalanced row is a balanced one in which
one bracket was replaced by another, or two were swapped, so a count of the brackets does not tell
the two classes apart.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

SPLITS = {"train": 40_000, "validation": 2_000, "test": 4_000}
MAX_LENGTH, MAX_DEPTH = 100, 8
PAIRS = {"(": ")", "[": "]", "{": "}"}
OPENING, TOKENS = tuple(PAIRS), (*PAIRS, *PAIRS.values())


class Draws:
    """Whole numbers from raw words of Philox, which numpy promises never to change."""

    def __init__(self, seed: int) -> None:
        self._source = np.random.Philox(seed)

    def below(self, limit: int) -> int:
        """Return one of the numbers 0 to limit - 1."""
        return int(self._source.random_raw()) * limit >> 64


def is_balanced(tokens: list[str]) -> bool:
    """Return whether each bracket is closed by its own kind, and in the right order."""
    expected: list[str] = []
    for token in tokens:
        if token in PAIRS:
            expected.append(PAIRS[token])
        elif not expected or expected.pop() != token:
            return False
    return not expected


def balanced(length: int, draws: Draws) -> list[str]:
    """Return a random balanced row. Where it may, a bracket opens in half of the cases."""
    tokens: list[str] = []
    expected: list[str] = []
    while len(tokens) < length:
        must_close = len(expected) in (MAX_DEPTH, length - len(tokens))
        if expected and (must_close or draws.below(2)):
            tokens.append(expected.pop())
        else:
            tokens.append(OPENING[draws.below(len(OPENING))])
            expected.append(PAIRS[tokens[-1]])
    return tokens


def unbalanced(length: int, draws: Draws) -> list[str]:
    """Return a balanced row with one bracket replaced, or with two swapped."""
    while True:
        tokens = balanced(length, draws)
        place, other = draws.below(length), draws.below(length)
        if draws.below(2):
            tokens[place], tokens[other] = tokens[other], tokens[place]
        else:
            tokens[place] = TOKENS[draws.below(len(TOKENS))]
        if not is_balanced(tokens):
            return tokens


def make_table(seed: int = 0) -> pa.Table:
    """Return a table with the columns `inputs`, `balanced` and `split`."""
    draws = Draws(seed)
    columns: dict[str, list[object]] = {"inputs": [], "balanced": [], "split": []}
    for split, num_rows in SPLITS.items():
        for row in range(num_rows):
            length = 2 + 2 * (row // 2 % (MAX_LENGTH // 2))
            make = balanced if row % 2 else unbalanced
            columns["inputs"].append(make(length, draws))
            columns["balanced"].append(bool(row % 2))
            columns["split"].append(split)
    return pa.table(columns)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make sequences of brackets.")
    parser.add_argument("path", nargs="?", type=Path, default=Path("brackets.parquet"))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    pq.write_table(make_table(arguments.seed), arguments.path, compression="zstd")
    print(f"{arguments.path}: {SPLITS}")


if __name__ == "__main__":
    main()
