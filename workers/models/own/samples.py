"""Made-up rows of the form of a data set, for the trial of a model.

B rows, T time steps, F features.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from workers.data.kinds import UNKNOWN, DataShape

_USUAL_STEPS = 32
_MOST_STEPS = 4096
"""The trial of one row is a matter of milliseconds up to here."""


@dataclass(frozen=True)
class Sample:
    """Rows as a model gets them in a step."""

    x: Tensor
    """Vectors (B, T, F), or tokens (B, T)."""
    lengths_B: Tensor | None
    """None if all rows of the data set are equally long."""

    def __len__(self) -> int:
        return len(self.x)

    def row(self, number: int) -> "Sample":
        """Return one row without its neighbours."""
        rows = slice(number, number + 1)
        return Sample(self.x[rows], None if self.lengths_B is None else self.lengths_B[rows])

    def padded(self, num_steps: int) -> "Sample":
        """Return the same rows with more padding."""
        more = self.x.new_zeros(len(self.x), num_steps, *self.x.shape[2:])
        return replace(self, x=torch.cat([self.x, more], dim=1))

    def with_neighbours(self, number: int, others: "Sample") -> "Sample":
        """Return one row of this sample in the company of the others of another sample."""
        x = others.x.clone()
        x[number] = self.x[number]
        if others.lengths_B is None or self.lengths_B is None:
            return Sample(x, None)
        lengths_B = others.lengths_B.clone()
        lengths_B[number] = self.lengths_B[number]
        return Sample(x, lengths_B)


class Samples:
    """Makes rows of the form of one data set. Each call makes others."""

    def __init__(self, data: DataShape, read: str) -> None:
        shape = data.input.sequence_shape(read)
        self._tokens, self._num_features = shape.vocabulary_size, shape.num_features
        self.min_steps, self.max_steps = shape.min_length, shape.max_length
        self._generator = torch.Generator().manual_seed(0)

    @property
    def are_equally_long(self) -> bool:
        return self.min_steps == self.max_steps

    def usual(self) -> Sample:
        """Return four rows of different lengths, if the data set has such."""
        longest = max(self.min_steps, min(self.max_steps, _USUAL_STEPS))
        middle = (self.min_steps + longest) // 2
        return self.of([middle, longest, self.min_steps, middle])

    def shortest(self) -> Sample:
        return self.of([self.min_steps] * 2)

    def longest(self) -> Sample:
        return self.of([min(self.max_steps, _MOST_STEPS)] * 2)

    def of(self, lengths: list[int]) -> Sample:
        """Return rows of these lengths, padded with zeros to the longest."""
        if self.are_equally_long:
            return Sample(self._values(len(lengths), self.max_steps), None)
        lengths_B = torch.tensor(lengths)
        x = self._values(len(lengths), max(lengths))
        is_padding_BT = torch.arange(x.shape[1]) >= lengths_B.unsqueeze(1)
        x[is_padding_BT] = 0
        return Sample(x, lengths_B)

    def _values(self, num_rows: int, num_steps: int) -> Tensor:
        if self._tokens:
            drawn = torch.randint(
                UNKNOWN, self._tokens, (num_rows, num_steps), generator=self._generator
            )
            return drawn.to(torch.int32)  # as in `workers.data.rows.Rows`
        return torch.randn(num_rows, num_steps, self._num_features, generator=self._generator)
