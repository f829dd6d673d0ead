"""Random rows as they are in a data set, for a model whose data set is not at hand.

B rows, T time steps, F features.
"""

import torch
from torch import Tensor

from workers.data.kinds import UNKNOWN, DataShape, ImageInput, TokenInput
from workers.data.rows import Batch
from workers.models.sequences import is_step
from workers.trained.formats.facts import Facts, is_dynamic_in_time

_MOST_STEPS = 256
"""The time steps of a made-up row, unless the model reads no shorter ones."""


class MadeUpRows:
    """Makes rows of the form of one data set. Each call makes others, always the same ones."""

    def __init__(self, data: DataShape, facts: Facts) -> None:
        self._data = data
        self._has_lengths = facts["has_lengths"]
        self._is_dynamic = is_dynamic_in_time(facts)
        self._generator = torch.Generator().manual_seed(0)

    def example(self) -> Batch:
        """Return rows to trace a model with. An axis of size 1 would count as one that is fixed."""
        return self.batch(2, 5)

    def batches(self, num_rows: int) -> list[Batch]:
        """Return rows in several batches, which differ in both axes."""
        return [
            self.batch(1, 1),
            self.batch(3, 2),
            *(self.batch(32, 7 + 13 * number) for number in range(-(-num_rows // 32))),
        ]

    def batch(self, num_rows: int, num_steps: int) -> Batch:
        """Return rows of up to `num_steps` time steps, if the model reads rows of any length."""
        source = self._data.input
        if isinstance(source, ImageInput):
            size = (num_rows, source.height, source.width)
            pixels = torch.randint(0, 256, size, generator=self._generator)
            return Batch(pixels.to(torch.uint8), self._targets(num_rows))
        longest = source.max_length
        if self._is_dynamic:
            shortest = source.min_length if self._has_lengths else 1
            longest = max(shortest, min(longest, num_steps, _MOST_STEPS))
        if not self._has_lengths:
            return Batch(self._values(num_rows, longest), self._targets(num_rows))
        lengths_B = torch.randint(
            source.min_length, longest + 1, (num_rows,), generator=self._generator
        )
        lengths_B[0] = longest
        values = self._values(num_rows, longest)
        is_step_BT1 = is_step(lengths_B, longest)
        is_padding = ~(is_step_BT1 if values.dim() == 3 else is_step_BT1.squeeze(2))
        return Batch(values.masked_fill(is_padding, 0), self._targets(num_rows), lengths_B)

    def _targets(self, num_rows: int) -> Tensor:
        return torch.zeros(num_rows)  # nobody reads them

    def _values(self, num_rows: int, num_steps: int) -> Tensor:
        source = self._data.input
        assert not isinstance(source, ImageInput)
        if isinstance(source, TokenInput):
            size = (num_rows, num_steps)
            drawn = torch.randint(UNKNOWN, source.vocabulary_size, size, generator=self._generator)
            return drawn.to(torch.int32)
        mean_F, std_F = torch.tensor(source.mean), torch.tensor(source.std)
        noise = torch.randn(num_rows, num_steps, source.num_features, generator=self._generator)
        return mean_F + std_F * noise
