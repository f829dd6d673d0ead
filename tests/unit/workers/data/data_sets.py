"""Small data sets of sequences in memory: vectors or tokens of any lengths, classes or numbers."""

import torch
from torch import Tensor

from workers.data.kinds import (
    NUM_SPECIAL_TOKENS,
    SPLITS,
    ClassTarget,
    DataShape,
    Input,
    NumberTarget,
    Target,
    TokenInput,
    VectorInput,
)
from workers.data.rows import Rows, ShardData

FEATURES, MAX_LENGTH = 3, 9
VECTORS = VectorInput(
    columns=("x",), num_features=FEATURES, min_length=1, max_length=MAX_LENGTH,
    mean=(0.5, 0.0, -0.5), std=(2.0, 1.0, 0.5),
)  # fmt: skip
EQUAL_VECTORS = VECTORS.model_copy(update={"min_length": MAX_LENGTH})
TOKENS = TokenInput(column="text", min_length=1, max_length=MAX_LENGTH, vocabulary=("a", "b", "c"))
CLASSES = ClassTarget(column="y", names=("no", "yes"), values="text", train_counts=(20, 6))
NUMBER = NumberTarget(column="y", mean=10.0, std=4.0)


def shape_of(source: Input, target: Target, num_shards: int = 4) -> DataShape:
    return DataShape(
        name="sequences",
        fingerprint="f" * 64,
        num_shards=num_shards,
        input=source,
        target=target,
        train_rows=26,
        validation_rows=9,
        test_rows=11,
    )


def lengths_of(shape: DataShape, number: int, generator: torch.Generator) -> Tensor:
    assert isinstance(shape.input, VectorInput | TokenInput)
    low, high = shape.input.min_length, shape.input.max_length
    lengths = torch.randint(low, high + 1, (number,), generator=generator)
    lengths[:2] = torch.tensor([low, high])[:number]
    return lengths


def random_rows(shape: DataShape, number: int, seed: int = 0) -> Rows:
    """Return rows without padding. Their targets depend on their inputs."""
    generator = torch.Generator().manual_seed(seed)
    lengths = lengths_of(shape, number, generator)
    steps = int(lengths.sum())
    if isinstance(shape.input, TokenInput):
        inputs = torch.randint(0, 3, (steps,), generator=generator).to(torch.int32)
        inputs += NUM_SPECIAL_TOKENS
        values = inputs.float()
    else:
        inputs = torch.randn(steps, FEATURES, generator=generator)
        values = inputs[:, 0]
    sums = torch.stack([part.sum() for part in torch.split(values, lengths.tolist())])
    targets = sums / lengths if isinstance(shape.target, NumberTarget) else (sums > 0).long()
    rows = Rows(inputs, targets, lengths, is_padded=False)
    if shape.input.min_length == shape.input.max_length:
        padded = rows.padded(MAX_LENGTH)
        return Rows(padded.inputs, targets)
    return rows


def loader_of(shape: DataShape) -> "Loader":
    return Loader(shape)


class Loader:
    """Loads a shard of a data set: row i of a split belongs to shard i mod num_shards."""

    def __init__(self, shape: DataShape) -> None:
        self.shape = shape
        self.splits = {
            split: random_rows(shape, shape.num_rows(split), seed)
            for seed, split in enumerate(SPLITS)
        }

    def __call__(self, shard: int) -> ShardData:
        return {
            split: rows.take(torch.arange(shard, len(rows), self.shape.num_shards))
            for split, rows in self.splits.items()
        }
