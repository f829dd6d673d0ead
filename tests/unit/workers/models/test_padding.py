"""Sequences of different lengths: padding changes nothing."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from examples.conv_gru import ConvGru
from tests.unit.workers.data.data_sets import (
    CLASSES,
    FEATURES,
    MAX_LENGTH,
    NUMBER,
    TOKENS,
    VECTORS,
    random_rows,
    shape_of,
)
from workers.config import ModelConfig
from workers.data.kinds import PADDING
from workers.data.targets.rules import rules_for
from workers.models.recurrent import RecurrentNetwork, build_model

VECTOR_SHAPE, TOKEN_SHAPE = shape_of(VECTORS, CLASSES), shape_of(TOKENS, CLASSES)
KEYS = ("cell", "pooling", "bidirectional", "num_layers")
VALUES = itertools.product(
    ["rnn", "lstm", "gru"], ["last", "mean", "max", "mean-max"], [False, True], [1, 2]
)
every_model = pytest.mark.parametrize(
    "config",
    [dict(zip(KEYS, values, strict=True)) for values in VALUES],
    ids=lambda config: "-".join(map(str, config.values())),
)


def built(**config: Any) -> RecurrentNetwork:
    return build_model(ModelConfig(**{"hidden_size": 7, **config}), VECTOR_SHAPE, seed=0)


def loss_and_gradients(model: RecurrentNetwork, length: int) -> tuple[Tensor, tuple[Tensor, ...]]:
    batch = random_rows(VECTOR_SHAPE, 13).padded(length).batch()
    loss = F.cross_entropy(model(batch.inputs, batch.lengths_N), batch.targets_N, reduction="sum")
    return loss, torch.autograd.grad(loss, list(model.parameters()))


@every_model
def test_a_row_has_the_same_outputs_alone_and_among_longer_rows(config: dict[str, Any]) -> None:
    model, rows = built(**config), random_rows(VECTOR_SHAPE, 13)
    batch = rows.batch()
    together = model(batch.inputs, batch.lengths_N)
    alone = torch.cat([model(row.batch().inputs) for row in rows.pieces(1)])
    torch.testing.assert_close(together, alone)


@every_model
def test_padding_to_twice_the_length_changes_no_bit_of_the_loss(config: dict[str, Any]) -> None:
    model = built(**config)
    loss, gradients = loss_and_gradients(model, MAX_LENGTH)
    again, gradients_again = loss_and_gradients(model, 2 * MAX_LENGTH)
    assert torch.equal(loss, again)
    torch.testing.assert_close(gradients, gradients_again)


@every_model
def test_what_stands_in_the_padding_changes_nothing_and_gets_no_gradient(
    config: dict[str, Any],
) -> None:
    model = built(**config)
    batch = random_rows(VECTOR_SHAPE, 13).batch()
    assert batch.lengths_N is not None
    is_padding = torch.arange(MAX_LENGTH) >= batch.lengths_N.unsqueeze(1)
    garbage = batch.inputs.clone()
    garbage[is_padding] = 77.0
    inputs = garbage.requires_grad_()
    outputs = model(inputs, batch.lengths_N)
    assert torch.equal(outputs, model(batch.inputs, batch.lengths_N))
    (gradient,) = torch.autograd.grad(outputs.sum(), inputs)
    assert not gradient[is_padding].any()
    assert gradient[~is_padding].abs().sum() > 0


@pytest.mark.parametrize("bptt_steps", [1, 4])
def test_truncation_leaves_the_outputs(bptt_steps: int) -> None:
    config = ModelConfig(hidden_size=7, bidirectional=True)
    batch = random_rows(VECTOR_SHAPE, 13).batch()
    cut, whole = (build_model(config, VECTOR_SHAPE, 0, steps) for steps in (bptt_steps, 0))
    torch.testing.assert_close(
        cut(batch.inputs, batch.lengths_N), whole(batch.inputs, batch.lengths_N)
    )


def test_tokens_are_looked_up_and_padding_has_no_vector() -> None:
    config = ModelConfig(hidden_size=7, embedding_size=5)
    model = build_model(config, TOKEN_SHAPE, seed=0)
    assert model.embedding is not None
    assert model.embedding.weight.shape == (5, 5)
    assert not model.embedding.weight[PADDING].any()
    batch = random_rows(TOKEN_SHAPE, 13).batch()
    outputs = model(batch.inputs, batch.lengths_N)
    assert outputs.shape == (13, 2)
    outputs.sum().backward()
    gradient = model.embedding.weight.grad
    assert gradient is not None
    assert not gradient[PADDING].any()
    assert gradient[2:].abs().sum(1).min() > 0


@pytest.mark.parametrize("kind", ["numbers", "tokens", "own"])
def test_more_padding_changes_no_bit_of_the_loss_of_any_kind_of_job(kind: str) -> None:
    shape = {"numbers": shape_of(VECTORS, NUMBER), "tokens": TOKEN_SHAPE}.get(kind, VECTOR_SHAPE)
    model: nn.Module
    if kind == "own":
        model = ConvGru(num_features=FEATURES, num_outputs=2, hidden=7, dropout=0.0)
    else:
        config = ModelConfig(hidden_size=7, embedding_size=5 if kind == "tokens" else 0)
        model = build_model(config, shape, seed=0)
    rules = rules_for(shape, "auto", "none", 0.0)
    losses = []
    for length in (MAX_LENGTH, 2 * MAX_LENGTH):
        batch = random_rows(shape, 13).padded(length).batch()
        losses.append(rules.loss_sum(model(batch.inputs, batch.lengths_N), batch.targets_N))
    assert torch.equal(*losses)
