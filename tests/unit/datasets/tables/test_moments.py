"""Exact sums: mean and standard deviation do not depend on order or parts."""

from fractions import Fraction
from math import sqrt
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.datasets.tables.moments import Moments

FLOATS = st.floats(width=32, allow_infinity=False).filter(lambda x: not abs(x) > 3e37)


@given(st.lists(FLOATS, min_size=1, max_size=20), st.integers(1, 7), st.randoms())
def test_the_moments_are_those_of_exact_sums(
    values: list[float], part: int, random: "np.random.Generator"
) -> None:
    column = np.array(values, np.float32)
    moments, shuffled = Moments(1), Moments(1)
    moments.add(column.reshape(-1, 1))
    random.shuffle(values)
    for first in range(0, len(values), part):
        shuffled.add(np.array(values[first : first + part], np.float32).reshape(-1, 1))
    assert moments.result() == shuffled.result()
    exact = [Fraction(value) for value in values if value == value]
    mean = sum(exact) / max(1, len(exact))
    std = sqrt(sum((value - mean) ** 2 for value in exact) / max(1, len(exact)))
    assert moments.result() == [(float(mean), std if std > 1e-30 else 1.0)]


def test_features_are_apart(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(1000, 3)).astype(np.float32)
    moments = Moments(3)
    moments.add(values)
    found = np.array(moments.result())
    np.testing.assert_allclose(found[:, 0], values.astype(np.float64).mean(axis=0))
    np.testing.assert_allclose(found[:, 1], values.astype(np.float64).std(axis=0))
