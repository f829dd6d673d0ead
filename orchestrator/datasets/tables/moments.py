"""Mean and standard deviation of float32 numbers from exact sums.

A float32 is an integer of 24 bits times a power of two. The integers are added up for each of the
256 powers, and exactly so; only the last result is rounded. So neither the order of the rows nor
how they are read in parts changes a bit of it.

M numbers, F features.
"""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

_POWERS = 256
_LOWEST_POWER = -149
_HALF_BITS = 12
_MOST_AT_ONCE = 2**24
"""So many integers of 24 bits add up to less than 2**53, below which float64 is exact."""
_SMALLEST_STD = 1e-30
"""A smaller one is noise of the rounding to float32, and its inverse would be out of range."""


class Moments:
    """Sums over numbers of F features. NaN is left out."""

    def __init__(self, num_features: int) -> None:
        self._counts_F = np.zeros(num_features, np.int64)
        # Of the integers; of their squares, which have 48 bits: high, middle and low part.
        self._sums = np.zeros((4, num_features * _POWERS), np.int64)

    def add(self, values_MF: NDArray[np.float32]) -> None:
        per_part = max(1, _MOST_AT_ONCE // max(1, values_MF.shape[1]))
        for first in range(0, len(values_MF), per_part):
            self._add(values_MF[first : first + per_part])

    def _add(self, values_MF: NDArray[np.float32]) -> None:
        is_there = ~np.isnan(values_MF)
        self._counts_F += is_there.sum(axis=0)
        bits = np.where(is_there, values_MF, np.float32(0)).view(np.int32)
        power = (bits >> 23) & 0xFF
        whole = (bits & 0x7FFFFF) | np.where(power > 0, 0x800000, 0)
        signed = np.where(bits < 0, -whole, whole)
        high, low = whole >> _HALF_BITS, whole & (2**_HALF_BITS - 1)
        bins = np.maximum(power, 1) + _POWERS * np.arange(values_MF.shape[1])
        for sums, part in zip(
            self._sums, (signed, high * high, high * low, low * low), strict=True
        ):
            sums += _binned(bins, part, sums.size)

    def result(self) -> list[tuple[float, float]]:
        """Return mean and standard deviation of each feature. The latter is 1 if all are equal."""
        by_feature = self._sums.reshape(4, len(self._counts_F), _POWERS)
        return [
            _moments(int(count), by_feature[:, feature])
            for feature, count in enumerate(self._counts_F)
        ]


def _binned(bins: NDArray[np.int64], weights: NDArray[np.int32], size: int) -> NDArray[np.int64]:
    return np.bincount(bins.reshape(-1), weights.reshape(-1), size).astype(np.int64)


def _moments(count: int, sums: NDArray[np.int64]) -> tuple[float, float]:
    if not count:
        return 0.0, 1.0
    total = squares = 0
    for power in np.flatnonzero(sums.any(axis=0)):
        signed, high, middle, low = (int(part) for part in sums[:, power])
        total += signed << int(power)
        square = (high << 2 * _HALF_BITS) + (middle << _HALF_BITS + 1) + low
        squares += square << 2 * int(power)
    unit = Fraction(2) ** (_LOWEST_POWER - 1)
    mean = Fraction(total, count) * unit
    variance = Fraction(squares, count) * unit * unit - mean * mean
    std = math.sqrt(variance)
    return float(mean), std if std > _SMALLEST_STD else 1.0
