"""Random numbers inside a step, drawn piece by piece.

A piece is a run of rows of one shard with a generator of its own, seeded from (seed, epoch, step,
shard, piece). The numbers a row meets therefore do not depend on which other rows share its batch,
on the order in which threads run, or on the process-wide generator.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """The generators of a batch: (generator, rows) of each of its pieces, in batch order."""

    pieces: Sequence[tuple[torch.Generator, int]]

    def uniform(self, *shape: int) -> Tensor:
        """Numbers in [0, 1) of the shape (rows of the batch, *shape), float32."""
        drawn = [
            torch.rand((rows, *shape), generator=generator, device=generator.device)
            for generator, rows in self.pieces
        ]
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)


def dropout(x: Tensor, p: float, noise: Noise | None) -> Tensor:
    """Inverted dropout (Srivastava et al., 2014) of x (B, ...); none where p is 0 or noise None."""
    if p == 0.0 or noise is None:
        return x
    keep = noise.uniform(*x.shape[1:]) >= p
    return x * keep.to(x.dtype) / (1.0 - p)
