"""Random numbers inside a step, drawn piece by piece.

A piece is a sequence of rows of one shard. It has a generator of its own, seeded from (seed, epoch,
step, shard, piece). Therefore the numbers drawn for a row do not depend on which other rows share
its batch, on the order in which threads run, or on the process-wide generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class NoiseSource(Protocol):
    """Where a batch's random numbers come from."""

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 numbers in [0, 1) of the shape (rows of the batch, *shape)."""
        ...


@dataclass(frozen=True)
class Noise:
    """The generators of a batch: (generator, number of rows) of each piece, in batch order."""

    pieces: Sequence[tuple[torch.Generator, int]]

    def uniform(self, *shape: int) -> Tensor:
        """Return float32 numbers in [0, 1) of the shape (rows of the batch, *shape)."""
        drawn = [
            torch.rand((rows, *shape), generator=generator, device=generator.device)
            for generator, rows in self.pieces
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


def dropout(x: Tensor, p: float, noise: NoiseSource | None) -> Tensor:
    """Apply inverted dropout (Srivastava et al., 2014) to x (B, ...).

    Returns x itself if p is 0 or noise is None.
    """
    if p == 0.0 or noise is None:
        return x
    keep = noise.uniform(*x.shape[1:]) >= p
    return x * keep.to(x.dtype) / (1.0 - p)
