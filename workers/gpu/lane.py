"""A lane: one queue of a GPU, and the recorded calls that it runs one after the other.

A call computes one gradient row and has a fixed shape. On a GPU, the bits of a row can depend on
the shape of the whole matrix product, so a step computes each shard by calls of one shape, however
many shards share the card and however many rows the shard has left. B rows of a call.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from workers.gpu.queues import Queue


class FixedNoise:
    """Random numbers in buffers that a recorded computation reads again and again.

    The rows of each shard of a call draw from a generator of their own. The first computation says
    which numbers it needs; from then on `draw` fills the buffers anew.
    """

    def __init__(self, num_shards: int, block_rows: int, device: torch.device) -> None:
        self._num_shards, self._rows, self._device = num_shards, block_rows, device
        self._buffers: list[Tensor] = []
        self._next = 0

    def begin(self) -> None:
        """Begin a computation, which asks for the same numbers in the same order as the first."""
        self._next = 0

    def uniform(self, *shape: int) -> Tensor:
        """Return the float32 numbers in [0, 1) of the shape (B, *shape)."""
        if self._next == len(self._buffers):
            rows = self._num_shards * self._rows
            self._buffers.append(torch.zeros(rows, *shape, device=self._device))
        self._next += 1
        return self._buffers[self._next - 1]

    @property
    def is_used(self) -> bool:
        """Whether the computation asked for any number."""
        return bool(self._buffers)

    def draw(self, place: int, seed: int) -> None:
        """Draw the numbers of the shard at this place of the call from a generator with a seed."""
        generator = torch.Generator(self._device).manual_seed(seed)
        for buffer in self._buffers:
            part = buffer[place * self._rows : (place + 1) * self._rows]
            torch.rand(part.shape, generator=generator, out=part)


@dataclass(frozen=True)
class Call:
    """One recorded computation of a lane."""

    shards: list[int]
    """The shards whose rows it takes, a block of rows of each."""
    block: int
    """Which block of each shard's rows it takes, from 0."""
    run: Callable[[], None]
    """Compute the gradient row of these blocks."""


class Lane:
    """One queue with its calls. They share the buffers of their random numbers."""

    def __init__(self, queue: Queue, noise: FixedNoise) -> None:
        self.queue, self.noise = queue, noise
        self._calls: list[Call] = []

    def add(self, shards: list[int], block: int, compute: Callable[[], None]) -> None:
        """Record a call. `compute` reads and writes the same tensors each time."""
        noise = self.noise  # a reference to the lane itself would keep it alive for ever

        def from_the_first_number() -> None:
            noise.begin()
            compute()

        self._calls.append(Call(shards, block, self.queue.repeatable(from_the_first_number)))

    def run(self, seed: Callable[[int, int], int]) -> None:
        """Run all calls in their order, beside the other lanes.

        `seed`: returns the seed of a block's random numbers, given its shard and which of the
        shard's blocks it is. It is asked for if there are any numbers.
        """
        with self.queue.work():
            for call in self._calls:
                if self.noise.is_used:
                    for place, shard in enumerate(call.shards):
                        self.noise.draw(place, seed(shard, call.block))
                call.run()
