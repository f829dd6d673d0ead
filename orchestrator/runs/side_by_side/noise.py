"""Whether a difference between two groups of repeats is more than the noise of their seeds.

The repeats are paired by their seeds. The deciding test is the paired t-test. The sign-flip test
assumes less, but its p-value cannot be below 2 / 2^pairs, which is 0.0625 for five pairs. Both are
a few lines, so that scipy need not be installed.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workers.storage.typed_json import Json

LEVEL = 0.05
"""A difference is more than noise if chance makes one as large in fewer than 1 of 20 cases."""
_TINY = 1e-12


@dataclass(frozen=True)
class Noise:
    """The differences of one metric between two groups of repeats, seed by seed."""

    metric: str
    differences: tuple[float, ...]
    """Second group minus first group, for each seed that both have; two at least."""

    @property
    def mean(self) -> float:
        return statistics.fmean(self.differences)

    @property
    def spread(self) -> float:
        """The standard deviation of the differences."""
        return statistics.stdev(self.differences)

    @property
    def t_test_p(self) -> float:
        return paired_t_test(self.differences)

    @property
    def sign_flip_p(self) -> float:
        return sign_flip_test(self.differences)

    @property
    def is_real(self) -> bool:
        """Whether the difference is more than noise."""
        return self.t_test_p < LEVEL

    def to_json(self) -> Json:
        """Return what `rnnjob compare --json` prints."""
        return {
            "metric": self.metric,
            "pairs": len(self.differences),
            "mean_difference": self.mean,
            "standard_deviation": self.spread,
            "more_than_noise": self.is_real,
            "paired_t_test_p": self.t_test_p,
            "sign_flip_test_p": self.sign_flip_p,
        }


def paired_t_test(differences: Sequence[float]) -> float:
    """Return the two-sided p-value of Student's t-test that the mean difference is zero."""
    mean, spread = statistics.fmean(differences), statistics.stdev(differences)
    if spread <= _TINY * abs(mean):  # equal differences, but for rounding
        return 0.0 if mean else 1.0
    return t_tails(mean / (spread / math.sqrt(len(differences))), len(differences) - 1)


def t_tails(t: float, freedom: int) -> float:
    """Return the probability of a |t| at least as large, for whole degrees of freedom.

    The finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(abs(t), math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = cosine if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + is_odd, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    within = 2 / math.pi * (angle + sine * total) if is_odd else sine * total
    return min(1.0, max(0.0, 1.0 - within))


def sign_flip_test(differences: Sequence[float]) -> float:
    """Return the exact two-sided p-value: the share of all choices of signs whose sum is as far
    from zero as that of the differences.

    The number of choices doubles with each pair; `repeats.MAX_REPEATS` pairs are a million.
    """
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    largest = sum(map(abs, differences))
    return float(np.mean(np.abs(sums) >= abs(sum(differences)) - _TINY * largest))
