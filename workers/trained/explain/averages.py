"""Means over rows of unequal length, by time step or by the steps before the end of a row.

B rows, T time steps.
"""

import torch
from torch import Tensor


class Averages:
    """Adds up numbers (B, T) of one batch after the other."""

    def __init__(self, from_end: bool) -> None:
        """`from_end`: place 0 is the last time step of a row, and not the first."""
        self._from_end = from_end
        self._sums = self._counts = torch.zeros(0, dtype=torch.float64)

    def add(self, values_BT: Tensor, lengths_B: Tensor | None) -> None:
        num_rows, num_steps = values_BT.shape
        if lengths_B is None:
            lengths_B = torch.full((num_rows,), num_steps)
        steps_T, lengths_B1 = torch.arange(num_steps), lengths_B.unsqueeze(1)
        place_BT = lengths_B1 - 1 - steps_T if self._from_end else steps_T.expand(num_rows, -1)
        is_step_BT = steps_T < lengths_B1
        places = place_BT[is_step_BT]
        size = max(len(self._sums), int(lengths_B.max()))
        self._sums = _grown(self._sums, size).index_add_(0, places, values_BT[is_step_BT].double())
        self._counts = _grown(self._counts, size).index_add_(
            0, places, torch.ones(len(places), dtype=torch.float64)
        )

    def means(self) -> tuple[float, ...]:
        """Return the mean at each place. Each place up to the longest row has a row at least."""
        return tuple((self._sums / self._counts).tolist())


def _grown(values: Tensor, size: int) -> Tensor:
    return torch.cat([values, values.new_zeros(size - len(values))])
