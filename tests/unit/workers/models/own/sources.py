"""The code of models, as users write it, and data sets for them."""

import textwrap

from workers.config import ModelConfig
from workers.data.kinds import ClassTarget, DataShape, NumberTarget, TokenInput, VectorInput
from workers.models.own.code import ModelCode

GOOD = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_features, num_outputs, hidden=8):
        super().__init__()
        self.gru = nn.GRU(num_features, hidden, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(hidden, num_outputs)

    def forward(self, x_BTF, lengths_B):
        h_BTH, _ = self.gru(x_BTF)
        last = h_BTH[torch.arange(len(h_BTH)), lengths_B - 1]
        return self.head(self.drop(self.norm(last)))
"""


def code(text: str, name: str = "net.py") -> ModelCode:
    return ModelCode({name: textwrap.dedent(text).encode()})


def config(own: ModelCode, class_path: str = "net.py:Net", **init_args: object) -> ModelConfig:
    return ModelConfig.model_validate(
        {"class_path": class_path, "code_sha256": own.sha256, "init_args": init_args}
    )


def vectors(shortest: int = 2, longest: int = 9, num_features: int = 3) -> DataShape:
    """Sequences of vectors with one of two classes."""
    source = VectorInput(
        columns=("signal",),
        num_features=num_features,
        min_length=shortest,
        max_length=longest,
        mean=(0.0,) * num_features,
        std=(1.0,) * num_features,
    )
    return _shape(source, ClassTarget(column="kind", names=("a", "b")))


def tokens() -> DataShape:
    """Sequences of tokens with a number."""
    source = TokenInput(column="text", min_length=1, max_length=6, vocabulary=("x", "y", "z"))
    return _shape(source, NumberTarget(column="value", mean=0.0, std=1.0))


def _shape(source: VectorInput | TokenInput, target: ClassTarget | NumberTarget) -> DataShape:
    return DataShape(
        name="made-up",
        fingerprint="f" * 64,
        num_shards=2,
        input=source,
        target=target,
        train_rows=8,
        validation_rows=2,
        test_rows=2,
    )
