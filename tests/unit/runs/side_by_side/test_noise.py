"""The tests that say whether a difference is more than noise, against values of scipy 1.16."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.runs.side_by_side.noise import Noise, paired_t_test, sign_flip_test, t_tails


@pytest.mark.parametrize(
    ("t", "freedom", "p"),
    [  # 2 * scipy.stats.t.sf(t, freedom); the first ones are also those of printed tables
        (12.706204736432095, 1, 0.05),
        (4.302652729749464, 2, 0.05),
        (3.182446305284263, 3, 0.05),
        (2.776445105197793, 4, 0.05),
        (2.570581835636314, 5, 0.05),
        (2.093024054408263, 19, 0.05),
        (3.250, 9, 0.009996),
        (0.0, 4, 1.0),
        (1.0, 1, 0.5),
    ],
)
def test_the_tails_are_those_of_students_distribution(t: float, freedom: int, p: float) -> None:
    assert t_tails(t, freedom) == pytest.approx(p, abs=2e-6)
    assert t_tails(-t, freedom) == t_tails(t, freedom)


def test_a_known_sample_has_its_known_p_value() -> None:
    """Student's own data: hours of additional sleep of ten patients with two drugs, 1908."""
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert paired_t_test(sleep) == pytest.approx(0.002833, abs=1e-6)
    assert sign_flip_test(sleep) == 2 / 2**9  # the zero has no sign


def test_differences_of_one_sign_have_the_least_p_value_of_their_number() -> None:
    assert sign_flip_test([1.0, 2.0, 0.5, 3.0, 1.0]) == 2 / 2**5
    assert sign_flip_test([-0.1, -0.2]) == 0.5


@given(st.lists(st.integers(-9, 9).map(float), min_size=2, max_size=8))
def test_the_sign_flip_test_counts_all_choices_of_signs(differences: list[float]) -> None:
    choices = list(itertools.product((1, -1), repeat=len(differences)))
    sums = [abs(sum(s * d for s, d in zip(c, differences, strict=True))) for c in choices]
    share = sum(each >= abs(sum(differences)) for each in sums) / len(choices)
    assert sign_flip_test(differences) == share


def test_equal_differences_are_real_and_no_differences_are_not() -> None:
    assert paired_t_test([0.1, 0.1, 0.1]) == 0.0
    assert paired_t_test([0.0, 0.0]) == 1.0
    assert Noise("test_loss", (0.5, 0.5, 0.5)).is_real
    assert not Noise("test_loss", (0.5, -0.4, 0.1)).is_real
