"""The runs whose models are exported: of each kind of data, and of models of the user's own."""

from pathlib import Path

import numpy as np

from tests.unit.datasets.tables.made import write

SMALL = (
    "--epochs", "1", "--batch-size", "64", "--precision", "fp32", "--json",
)  # fmt: skip
NET = ("--set", "model.hidden_size=8", "--set", "model.bidirectional=true")
RUNS = {
    "images": ("--dataset", "mnist-sample", "--set", "model.hidden_size=8"),
    "vectors": ("--dataset", "parquet:rows.parquet", "--inputs", "accel", "--target", "hand", *NET),
    "tokens": (
        "--dataset", "parquet:rows.parquet", "--inputs", "words", "--target", "hand", *NET,
        "--set", "model.embedding_size=4", "--set", "model.pooling=max",
    ),
    "numbers": (
        "--dataset", "parquet:rows.parquet", "--inputs", "accel", "--target", "load", *NET,
        "--set", "model.pooling=mean",
    ),
    "own": ("--dataset", "mnist-sample", "--model", "net.py:ConvGru"),
    "package": (
        "--dataset", "parquet:rows.parquet", "--inputs", "accel", "--target", "hand",
        "--model", "nets.mean:Mean",
    ),
}  # fmt: skip
PACKAGE = """
import torch
from torch import nn
from nets.parts import masked

print("this must not reach stdout")

class Mean(nn.Module):
    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.head = nn.Linear(num_features, num_outputs)
        self.register_buffer("scale", torch.rand(num_features))

    def forward(self, x, lengths):
        return self.head(masked(x, lengths) * self.scale)
"""
PARTS = """
import torch

def masked(x, lengths):
    keep = torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)
    return (x * keep.unsqueeze(2)).sum(1) / lengths.unsqueeze(1)
"""


def rows(file: Path, num_rows: int = 160) -> None:
    random = np.random.default_rng(0)
    lengths = random.integers(3, 9, num_rows)
    classes = [("left", "right")[row // 4 % 2] for row in range(num_rows)]
    write(
        file,
        {
            "accel": [random.normal(5, 3, size=(length, 2)).tolist() for length in lengths],
            "words": [random.choice(["a", "b", "c"], length).tolist() for length in lengths],
            "hand": classes,
            "load": random.normal(1000, 50, num_rows).tolist(),
            "split": [("train", "test", "train", "validation")[n % 4] for n in range(num_rows)],
        },
    )
