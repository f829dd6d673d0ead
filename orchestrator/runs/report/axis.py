"""The axis of a chart: its range, its ticks, and where a value is on it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

LARGEST = 1e300
LOG_RATIO = 200.0
"""A curve whose largest value is so many times its smallest has a logarithmic axis."""


@dataclass(frozen=True)
class Axis:
    """A range of numbers."""

    low: float
    high: float
    ticks: tuple[float, ...]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high one."""
        if self.is_log:
            low, high = math.log(self.low), math.log(self.high)
            return (math.log(value) - low) / (high - low)
        return (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5


def value_axis(values: Sequence[float], log_ratio: float = math.inf, whole: bool = False) -> Axis:
    """Return an axis that ends at round numbers around all values.

    Args:
        log_ratio: the axis is logarithmic if the largest value is so many times the smallest.
        whole: whether its ticks are whole numbers.
    """
    low, high = min(values), max(values)
    if low > 1 / LARGEST and high / low >= log_ratio:
        return _log_axis(low, high)
    ticks = _round_numbers(low, high, least_step=float(whole))
    return Axis(ticks[0], ticks[-1], tuple(ticks))


def position_axis(values: Sequence[float]) -> Axis:
    """Return an axis from the least to the greatest value, with round numbers between them.

    Those of whole numbers, such as steps and epochs, are whole.
    """
    low, high = min(values), max(values)
    are_whole = all(float(value).is_integer() for value in values)
    found = _round_numbers(low, high, least_step=float(are_whole))
    ticks = tuple(tick for tick in found if low <= tick <= high)
    return Axis(low, high, ticks or (low,))


def _log_axis(low: float, high: float) -> Axis:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = -(-(last - first) // 5)
    powers = [10.0**n for n in range(first, last + 1, every)]
    return Axis(10.0**first, max(10.0**last, powers[-1]), tuple(powers), is_log=True)


def _round_numbers(low: float, high: float, least_step: float = 0.0) -> list[float]:
    """Return up to seven round numbers that span the range from low to high."""
    span = max((high - low) or abs(high) or 1.0, 1 / LARGEST)
    raw = span / 4
    scale = 10.0 ** math.floor(math.log10(raw))
    step = next(s * scale for s in (1, 2, 2.5, 5, 10) if s * scale >= raw)
    step = max(step, least_step)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [n * step for n in range(first, max(last, first + 1) + 1)]


def show(value: float) -> str:
    """Return a number as a tick or a tooltip shows it."""
    if value == 0 or (float(value).is_integer() and abs(value) < 1e7):
        return f"{value:,.0f}"
    return f"{value:.4g}"


def show_percent(value: float) -> str:
    return f"{100 * value:.4g}%"
