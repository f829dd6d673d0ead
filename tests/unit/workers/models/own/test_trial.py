"""What the trial of a user's own model accepts, warns of, and refuses."""

import textwrap
from typing import Any

import pytest

from tests.unit.workers.models.own.sources import GOOD, code, config, tokens, vectors
from workers.config import TrainingConfig
from workers.data.kinds import DataShape, ImageInput
from workers.errors import ModelError
from workers.models.own.trial import try_model

EQUAL = vectors(6, 6)

NET = """
import random
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

class Net(nn.Module):
    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.part = {part}
        self.head = nn.Linear(num_features, num_outputs)
        self.calls = 0

    def forward(self, x, lengths):
        is_step = torch.arange(x.shape[1]) < lengths.unsqueeze(1)
        mean = (x * is_step.unsqueeze(2)).sum(1) / lengths.unsqueeze(1)
        {body}
"""


def attempt(
    text: str, shape: DataShape | None = None, gradients: str = "exact", **init_args: Any
) -> list[str]:
    own = code(text)
    training = TrainingConfig.model_validate({"gradients": gradients})
    return try_model(own, config(own, **init_args), shape or vectors(), training)


def net(body: str = "return self.head(mean)", part: str = "None") -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip(), " " * 8).strip()
    return NET.format(part=part, body=lines)


def refused(text: str, shape: DataShape | None = None, gradients: str = "exact") -> ModelError:
    with pytest.raises(ModelError) as caught:
        attempt(text, shape, gradients)
    assert caught.value.cure and "\n" not in caught.value.cause + caught.value.cure
    return caught.value


@pytest.mark.parametrize("shape", [vectors(), vectors(1, 1), EQUAL, vectors(3, 2000)])
def test_a_model_that_keeps_to_everything_is_accepted(shape: DataShape) -> None:
    assert attempt(GOOD, shape) == []
    assert attempt(net(), shape, "fused") == []


def test_a_model_of_tokens_is_accepted() -> None:
    text = """
    import torch
    from torch import nn
    class Net(nn.Module):
        def __init__(self, vocabulary_size, num_outputs):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary_size, 4, padding_idx=0)
            self.head = nn.Linear(4, num_outputs)
        def forward(self, tokens_BT, lengths_B):
            return self.head(self.embedding(tokens_BT).sum(1) / lengths_B.unsqueeze(1))
    """
    assert attempt(text, tokens()) == []


@pytest.mark.parametrize("read", ["rows", "columns", "rows-and-columns", "pixels"])
def test_a_model_of_images_is_accepted_whatever_a_time_step_is(read: str) -> None:
    text = """
    from torch import nn
    def Net(num_features, num_outputs, max_length):
        return nn.Sequential(nn.Flatten(), nn.Linear(num_features * max_length, num_outputs))
    """
    shape = EQUAL.model_copy(update={"input": ImageInput(height=4, width=3)})
    own = code(text)
    spec = config(own).model_copy(update={"read": read})
    assert try_model(own, spec, shape, TrainingConfig()) == []


@pytest.mark.parametrize(
    ("text", "cause", "cure"),
    [
        (net("return mean, mean"), "returns a tuple", "only the tensor"),
        (net("return self.head(mean).argmax(1)"), "the shape (4,), not (4, 2)", "num_outputs=2"),
        (net("return self.head(x)"), "the shape (4, 9, 2), not (4, 2)", "num_outputs=2"),
        (net("return self.head(mean).double()"), "is float64", "as they come"),
        (net("return self.head(mean).detach()"), "no gradient would flow", "detach"),
        (net("return self.nothing(mean)"), "net.py:18: AttributeError", "correct it: net.py:18"),
        (
            net("return self.head(self.part(mean))", "nn.BatchNorm1d(num_features)"),
            "changes the buffer part.running_mean",
            "nn.LayerNorm or nn.GroupNorm, which treat each row alone, instead of nn.BatchNorm1d",
        ),
        (
            net("self.part.data.add_(1.0)\nreturn self.head(mean)", "nn.Parameter(torch.ones(1))"),
            "changes the parameter part",
            "copy of it",
        ),
        (net("x *= 2\nreturn self.head(mean)"), "changes its arguments", "x.clone()"),
        (net("lengths -= 1\nreturn self.head(mean)"), "changes its arguments", "x.clone()"),
        (
            net("return self.head(mean[:, :1] * x[:, -1:].mean(1))"),
            "more padding follows",
            "use the lengths",
        ),
    ],
)
@pytest.mark.parametrize("gradients", ["exact", "fused"])
def test_what_no_job_can_train_is_refused(text: str, cause: str, cure: str, gradients: str) -> None:
    error = refused(text, gradients=gradients)
    assert cause in error.cause and cure in error.cure, error


OF_THE_ORDER = [
    (
        net("return self.head(mean + torch.randn_like(mean))"),
        "draws from torch's process-wide generator",
        "nn.Dropout and F.dropout",
    ),
    (
        net("return self.head(mean) * random.random()"),
        "draws from Python's process-wide generator",
        "nn.Dropout and F.dropout",
    ),
    (
        net("return self.head(mean) * float(np.random.rand())"),
        "draws from numpy's process-wide generator",
        "nn.Dropout and F.dropout",
    ),
    (
        net(
            "return self.head(self.part(x)[0][torch.arange(len(x)), lengths - 1])",
            "nn.GRU(num_features, num_features, 2, batch_first=True, dropout=0.5)",
        ),
        "draws from torch's process-wide generator",
        "set the dropout of part (GRU) to 0",
    ),
    (
        net("self.calls += 1\nreturn self.head(mean) * self.calls"),
        "two passes over the same rows with the same weights differ",
        "nothing but its arguments",
    ),
    (
        net("return self.head(mean - mean.mean(0))"),
        "a row's output depends on the rows beside it",
        "no mean, maximum or attention over the first axis",
    ),
    (
        net(
            "return self.head(self.part(mean) if len(mean) > 1 else mean)",
            "nn.BatchNorm1d(num_features, track_running_stats=False)",
        ),
        "a row's output depends on the rows beside it",
        "nn.LayerNorm or nn.GroupNorm",
    ),
]


@pytest.mark.parametrize(("text", "cause", "cure"), OF_THE_ORDER)
def test_what_breaks_only_the_order_is_refused_unless_the_job_is_fused(
    text: str, cause: str, cure: str
) -> None:
    error = refused(text)
    assert cause in error.cause and cure in error.cure, error
    assert "--set training.gradients=fused" in error.cure
    (warning,) = attempt(text, gradients="fused")
    assert cause in warning and "another number of workers" in warning


def test_a_last_layer_of_zeros_hides_nothing() -> None:
    body = "return self.head(mean - mean.mean(0))"
    text = net(body).replace(
        "self.calls = 0", "nn.init.zeros_(self.head.weight); nn.init.zeros_(self.head.bias)"
    )
    assert "rows beside it" in refused(text).cause


def test_a_parameter_without_a_gradient_is_a_warning() -> None:
    (warning,) = attempt(net(part="nn.Linear(2, 2)"))
    assert "part.weight and 1 more never gets a gradient" in warning


def test_weights_that_differ_each_time_are_refused() -> None:
    text = net().replace(
        "self.calls = 0",
        "nn.init.normal_(self.head.bias, generator=torch.Generator().seed() and "
        "(g := torch.Generator(), g.seed())[0])",
    )
    assert "others each time" in refused(text).cause


def test_a_sparse_gradient_is_refused() -> None:
    text = """
    from torch import nn
    class Net(nn.Module):
        def __init__(self, vocabulary_size, num_outputs):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary_size, num_outputs, sparse=True)
        def forward(self, tokens_BT, lengths_B):
            return self.embedding(tokens_BT[:, :1]).squeeze(1)
    """
    assert "embedding.weight is sparse" in refused(text, tokens()).cause


WITHOUT_LENGTHS = """
from torch import nn
class Net(nn.Module):
    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.head = nn.Linear(num_features, num_outputs)
    def forward(self, x):
        return self.head(x[:, -1])
"""


def test_forward_needs_the_lengths_only_where_they_differ() -> None:
    assert attempt(WITHOUT_LENGTHS, EQUAL) == []
    error = refused(WITHOUT_LENGTHS)
    assert "takes no lengths, but the sequences have 2 to 9 steps" in error.cause


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ("lens_B", "len(x)"),
        ("anything", "len(x)"),
        ("lengths=None", "len(x)"),
        ("mask=None", "0"),
        ("*, lengths=()", "0"),
        ("*more", "0"),
    ],
)
def test_a_second_argument_gets_the_lengths_if_it_must_be_given_or_is_named_so(
    second: str, expected: str
) -> None:
    name = second.partition("=")[0].strip("*, ")
    head = f"def forward(self, x, {second}):\n        assert len({name} or ()) == {expected}"
    head = head.replace(f"{name} or ()", f"() if {name} is None else {name}")
    assert attempt(WITHOUT_LENGTHS.replace("def forward(self, x):", head), EQUAL) == []


@pytest.mark.parametrize(("limit", "shape"), [("> 1", vectors(1, 9)), ("< 4000", vectors(2, 5000))])
def test_the_shortest_and_the_longest_sequences_are_tried(limit: str, shape: DataShape) -> None:
    text = net(f"assert x.shape[1] {limit}\nreturn self.head(mean)")
    assert "AssertionError" in refused(text, shape).cause


def test_a_single_row_is_tried() -> None:
    text = net("return self.head(mean).squeeze(0)")
    assert "output has the shape (2,)" in refused(text).cause
