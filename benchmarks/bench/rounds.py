"""Measure in turns, choose the best of several tries, and take medians."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turns(items: Sequence[T], number: int) -> list[T]:
    """Return the items in the order of a round, counted from 0.

    It changes each round, so that none always runs on the warmer machine.
    """
    return list(items) if number % 2 == 0 else list(reversed(items))


def best_try(
    tries: Sequence[int], measure: Callable[[int], float], rounds: int, higher: bool
) -> int:
    """Return the try with the best median of several rounds, in which the tries take turns."""
    if len(tries) == 1:
        return tries[0]
    values: dict[int, list[float]] = {each: [] for each in tries}
    for number in range(rounds):
        for each in in_turns(tries, number):
            values[each].append(measure(each))
    medians = {each: statistics.median(values[each]) for each in tries}
    return (max if higher else min)(tries, key=lambda each: medians[each])


def medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the median of each name over the rounds."""
    return {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}


def finite(name: str, value: float) -> float:
    """Return a figure. Raises ValueError if the command came to none."""
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} came to no figure")
    return value
