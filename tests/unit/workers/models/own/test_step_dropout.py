"""Dropout in a user's own model: the step's own random numbers, and torch's meaning of it."""

import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workers.models.noise import Noise, dropout
from workers.models.own.step_dropout import StepDropout


def noise(num_rows: int, seed: int = 0) -> Noise:
    return Noise([(torch.Generator().manual_seed(seed), num_rows)])


def dropped(layer: nn.Module, x: Tensor, seed: int = 0) -> Tensor:
    with StepDropout(noise(len(x), seed), len(x)):
        result: Tensor = layer(x)
    return result


@pytest.mark.parametrize("p", [0.0, 0.25, 0.9])
def test_it_is_the_dropout_of_the_built_in_models(p: float) -> None:
    x = torch.randn(5, 7, 3)
    assert torch.equal(dropped(nn.Dropout(p), x), dropout(x, p, noise(5)))


def test_everything_is_dropped_with_probability_one() -> None:
    assert torch.equal(dropped(nn.Dropout(1.0), torch.ones(4, 3)), torch.zeros(4, 3))


def test_the_process_wide_generator_is_neither_used_nor_asked() -> None:
    x = torch.ones(6, 50)
    before = torch.get_rng_state()
    first = dropped(nn.Dropout(), x)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(dropped(nn.Dropout(), x), first)
    assert not torch.equal(dropped(nn.Dropout(), x, seed=1), first)


def test_what_a_row_draws_does_not_depend_on_the_pieces_beside_its_own() -> None:
    x = torch.ones(5, 40)
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 4)]
    both = Noise([(generators[0], 2), (generators[1], 3)])
    with StepDropout(both, 5):
        together = nn.Dropout()(x)
    alone = [dropped(nn.Dropout(), x[:2], seed=3), dropped(nn.Dropout(), x[2:], seed=4)]
    assert torch.equal(together, torch.cat(alone))


@pytest.mark.parametrize(
    ("layer", "shape", "is_channel"),
    [
        (nn.Dropout1d(0.5), (4, 20, 6), (4, 20, 1)),
        (nn.Dropout2d(0.5), (4, 20, 3, 3), (4, 20, 1, 1)),
        (nn.Dropout3d(0.5), (4, 20, 2, 2, 2), (4, 20, 1, 1, 1)),
        (nn.Dropout1d(0.5), (20, 6), (20, 1)),  # channels of one sequence without a batch
    ],
)
def test_whole_channels_are_dropped_where_torch_drops_them(
    layer: nn.Module, shape: tuple[int, ...], is_channel: tuple[int, ...]
) -> None:
    result = dropped(layer, torch.ones(shape))
    of_channel = result.reshape(*is_channel[: is_channel.index(1)], -1)
    assert torch.equal(of_channel, of_channel[..., :1].expand_as(of_channel))
    assert set(result.unique().tolist()) == {0.0, 2.0}


def test_rows_need_not_be_the_first_axis() -> None:
    time_first = torch.ones(7, 5, 4)
    with StepDropout(noise(5), 5):
        result = F.dropout(time_first, 0.5)
        of_steps = F.dropout(torch.ones(35, 4), 0.5)
        of_weights = F.dropout(torch.ones(3, 3), 0.5)
    assert (result.shape, of_steps.shape, of_weights.shape) == ((7, 5, 4), (35, 4), (3, 3))
    assert set(result.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("function", [F.dropout, torch.dropout])
def test_a_call_that_is_no_training_drops_nothing(function: object) -> None:
    x = torch.ones(4, 9)
    with StepDropout(noise(4), 4):
        assert function(x, 0.5, False) is x  # type: ignore[operator]


def test_nothing_is_dropped_in_an_evaluation_whatever_the_model_asks_for() -> None:
    x = torch.ones(4, 9)
    with StepDropout(None, 4):
        assert F.dropout(x, 0.5, training=True) is x


def test_in_place_changes_the_tensor_itself_and_lets_gradients_through() -> None:
    leaf = torch.ones(4, 30, requires_grad=True)
    x = leaf * 1.0
    with StepDropout(noise(4), 4):
        result = F.dropout(x, 0.5, inplace=True)
    assert result is x
    result.sum().backward()
    assert torch.equal(leaf.grad, x.detach())  # type: ignore[arg-type]


def test_other_threads_keep_torchs_own_dropout() -> None:
    found: list[bool] = []

    def elsewhere() -> None:
        before = torch.get_rng_state()
        F.dropout(torch.ones(8), 0.5)
        found.append(not torch.equal(torch.get_rng_state(), before))

    with StepDropout(noise(4), 4):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert found == [True]


def test_a_probability_that_is_none_is_refused_as_by_torch() -> None:
    with StepDropout(noise(2), 2), pytest.raises(ValueError, match="between 0 and 1"):
        F.dropout(torch.ones(2), 1.5)
