"""Random numbers inside a step."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from workers.models.noise import Noise, dropout


def noise_of(pieces: list[tuple[int, int]]) -> Noise:
    return Noise([(torch.Generator().manual_seed(seed), rows) for seed, rows in pieces])


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(1, 20)), min_size=1, max_size=5))
def test_a_rows_numbers_do_not_depend_on_which_rows_share_its_batch(
    pieces: list[tuple[int, int]],
) -> None:
    together = noise_of(pieces).uniform(3, 2)
    alone = [noise_of([piece]).uniform(3, 2) for piece in pieces]
    assert torch.equal(together, torch.cat(alone))
    assert together.shape == (sum(rows for _, rows in pieces), 3, 2)
    assert together.min() >= 0
    assert together.max() < 1


def test_a_second_draw_gives_other_numbers() -> None:
    noise = noise_of([(1, 4)])
    assert not torch.equal(noise.uniform(5), noise.uniform(5))


def test_the_process_wide_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    dropout(torch.ones(4, 8), 0.5, noise_of([(1, 4)]))
    assert torch.equal(torch.get_rng_state(), before)


def test_dropout_zeroes_a_share_of_p_and_scales_up_the_rest() -> None:
    dropped = dropout(torch.ones(1000, 100), 0.2, noise_of([(1, 1000)]))
    assert set(dropped.unique().tolist()) == {0.0, 1.25}
    assert abs((dropped == 0).float().mean().item() - 0.2) < 0.01


def test_dropout_of_0_or_without_noise_is_the_input_itself() -> None:
    x = torch.ones(4, 8)
    assert dropout(x, 0.0, noise_of([(1, 4)])) is x
    assert dropout(x, 0.5, None) is x


def test_dropout_keeps_the_precision_of_its_input() -> None:
    x = torch.ones(4, 8, dtype=torch.bfloat16)
    assert dropout(x, 0.5, noise_of([(1, 4)])).dtype == torch.bfloat16
