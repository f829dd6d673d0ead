"""Recurrent classifiers: agreement with torch's own, and their differences from them."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.unit.simulated import tiny_shape
from workers.config import ModelConfig
from workers.models.noise import Noise
from workers.models.recurrent import RecurrentNetwork, build_model
from workers.models.sequences import image_sequences

T_STEPS, FEATURES, CLASSES = 5, 6, 3
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def config_of(**changes: Any) -> ModelConfig:
    return ModelConfig(**{"hidden_size": 4, **changes})


def built(seed: int = 0, bptt_steps: int = 0, **changes: Any) -> RecurrentNetwork:
    return build_model(config_of(**changes), tiny_shape(), seed, bptt_steps)


def inputs(batch: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, T_STEPS, FEATURES, generator=generator)


def noise_of(*seeds: int, rows: int) -> Noise:
    return Noise([(torch.Generator().manual_seed(seed), rows) for seed in seeds])


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "mean-max"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_every_kind_of_model_gives_one_logit_per_class(
    cell: str, pooling: str, bidirectional: bool, num_layers: int
) -> None:
    model = built(cell=cell, pooling=pooling, bidirectional=bidirectional, num_layers=num_layers)
    logits = model(inputs())
    assert logits.shape == (7, CLASSES)
    assert bool(torch.isfinite(logits).all())


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("pooling", ["last", "mean", "max", "mean-max"])
def test_logits_are_those_of_torchs_own_stack(cell: str, bidirectional: bool, pooling: str) -> None:
    model = built(cell=cell, bidirectional=bidirectional, num_layers=2, pooling=pooling)
    reference = TORCH[cell](FEATURES, 4, 2, batch_first=True, bidirectional=bidirectional)
    weights = {}
    for number, layer in enumerate(model.layers):
        assert isinstance(layer, nn.ModuleList)
        for direction, of_direction in enumerate(layer):
            for name, value in of_direction.state_dict().items():
                weights[name.replace("_l0", f"_l{number}") + "_reverse" * direction] = value
    reference.load_state_dict(weights)
    outputs, state = reference(inputs())
    if pooling == "last":
        hidden = state[0] if cell == "lstm" else state
        # torch returns the final state of each direction at the end of its own time.
        features = torch.cat([hidden[-2], hidden[-1]], 1) if bidirectional else hidden[-1]
    else:
        pooled = {"mean": outputs.mean(1), "max": outputs.amax(1)}
        features = torch.cat([pooled[name] for name in pooling.split("-")], 1)
    torch.testing.assert_close(model(inputs()), model.head(features))


def test_the_reverse_directions_last_output_has_seen_the_whole_sequence() -> None:
    model = built(bidirectional=True)
    with torch.no_grad():
        model.head.weight[:, :4] = 0.0  # only the reverse direction is left
    x = inputs().requires_grad_()
    (gradient,) = torch.autograd.grad(model(x).sum(), x)
    reached = gradient.abs().sum(dim=(0, 2)) > 0
    assert reached.tolist() == [True] * T_STEPS


@pytest.mark.parametrize(
    ("read", "shape"),
    [
        ("rows", (2, 5, 6)),
        ("columns", (2, 6, 5)),
        ("rows-and-columns", (2, 6, 11)),
        ("pixels", (2, 30, 1)),
    ],
)
def test_an_image_is_read_by_rows_columns_both_or_pixels(read: str, shape: tuple[int, ...]) -> None:
    images = torch.arange(60.0).reshape(2, 5, 6)
    sequences = image_sequences(images, read)
    assert sequences.shape == shape
    second_steps = {
        "rows": images[0, 1],
        "columns": images[0, :, 1],
        "rows-and-columns": torch.cat([images[0, 1], images[0, :, 1]]),
        "pixels": images[0, 0, 1:2],
    }
    assert torch.equal(sequences[0, 1], second_steps[read])
    assert built(read=read)(sequences).shape == (2, CLASSES)


@pytest.mark.parametrize("forget_bias", [1.0, -2.5])
def test_the_forget_gate_begins_with_its_bias(forget_bias: float) -> None:
    model = built(forget_bias=forget_bias, num_layers=2, bidirectional=True)
    for name, parameter in model.named_parameters():
        if name.endswith("bias_ih_l0"):
            assert parameter[4:8].tolist() == [forget_bias] * 4
            assert forget_bias not in parameter[:4].tolist() + parameter[8:].tolist()
        if name.endswith("bias_hh_l0"):
            assert parameter[4:8].tolist() == [0.0] * 4


def test_only_an_lstm_has_a_forget_bias() -> None:
    for cell in ("rnn", "gru"):
        one, other = built(cell=cell, forget_bias=1.0), built(cell=cell, forget_bias=9.0)
        for a, b in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


def test_uniform_kernels_lie_within_one_over_the_root_of_the_hidden_size() -> None:
    model = built(hidden_size=64, cell="gru")
    weight = dict(model.named_parameters())["layers.0.0.weight_hh_l0"]
    assert 0.99 / 8 < weight.abs().max().item() <= 1 / 8


def test_glorot_kernels_lie_within_the_bound_of_the_joined_kernel_and_biases_are_zero() -> None:
    model = built(hidden_size=64, cell="lstm", kernel_init="glorot-uniform", forget_bias=0.0)
    parameters = dict(model.named_parameters())
    bound = math.sqrt(6 / (FEATURES + 64 + 4 * 64))
    for name in ("layers.0.0.weight_ih_l0", "layers.0.0.weight_hh_l0"):
        assert 0.98 * bound < parameters[name].abs().max().item() <= bound
    assert parameters["layers.0.0.bias_ih_l0"].abs().max().item() == 0.0


def test_a_normal_head_has_mean_0_and_deviation_1() -> None:
    weight = built(hidden_size=2000, head_init="normal", cell="rnn").head.weight
    assert abs(weight.mean().item()) < 0.05
    assert abs(weight.std().item() - 1) < 0.05
    assert built(hidden_size=64).head.weight.abs().max().item() <= 1 / 8


def test_first_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = built(seed=3)
    torch.manual_seed(2)
    same, other = built(seed=3), built(seed=4)
    for name, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[name])
    assert not torch.equal(one.head.weight, other.head.weight)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_truncation_cuts_the_gradient_at_its_boundary_and_leaves_the_output(cell: str) -> None:
    whole, cut = built(cell=cell), built(cell=cell, bptt_steps=2)
    x = inputs().requires_grad_()
    torch.testing.assert_close(cut(x), whole(x))
    (gradient,) = torch.autograd.grad(cut(x).sum(), x)
    # Chunks are steps 0-1, 2-3 and 4: the last output sees back to step 4.
    assert gradient[:, :4].abs().max().item() == 0.0
    assert gradient[:, 4].abs().min().item() > 0.0
    (gradient,) = torch.autograd.grad(whole(x).sum(), x)
    assert gradient[:, 0].abs().max().item() > 0.0


def test_truncation_cuts_each_direction_along_its_own_time() -> None:
    cut, whole = built(bidirectional=True, bptt_steps=2), built(bidirectional=True)
    x = inputs().requires_grad_()
    torch.testing.assert_close(cut(x), whole(x))
    (gradient,) = torch.autograd.grad(cut(x).sum(), x)
    reached = gradient.abs().sum(dim=(0, 2)) > 0
    # The last chunk of the forward direction is step 4; that of the reverse direction is step 0.
    assert reached.tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("bptt_steps", [5, 50])
def test_truncation_beyond_the_sequence_changes_nothing(bptt_steps: int) -> None:
    x = inputs().requires_grad_()
    (cut,) = torch.autograd.grad(built(bptt_steps=bptt_steps)(x).sum(), x)
    (whole,) = torch.autograd.grad(built()(x).sum(), x)
    assert torch.equal(cut, whole)


def test_dropout_draws_from_the_given_generators_and_never_from_the_global_one() -> None:
    model, x = built(dropout=0.5, num_layers=3), inputs()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = model(x, noise=noise_of(5, rows=7))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(model(x, noise=noise_of(5, rows=7)), first)
    assert not torch.equal(model(x, noise=noise_of(6, rows=7)), first)


def test_nothing_is_dropped_without_noise() -> None:
    plain, dropping = built(num_layers=2), built(num_layers=2, dropout=0.9)
    assert torch.equal(plain(inputs()), dropping(inputs()))
    assert torch.equal(plain(inputs(), noise=noise_of(1, rows=7)), plain(inputs()))
