"""Rows of one split in memory, of any kind of input and target.

N rows, T time steps of the longest row, M time steps of all rows together, F features.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from workers.data.kinds import ClassTarget, DataShape, ImageInput, TokenInput


@dataclass(frozen=True)
class Batch:
    """Rows as a model gets them: padded to one length."""

    inputs: Tensor
    """Images (N, H, W) uint8, vectors (N, T, F) float32, or tokens (N, T) int32. Zero behind the
    end of a sequence."""
    targets_N: Tensor
    """Classes int64, or numbers float32."""
    lengths_N: Tensor | None = None
    """The time steps of each row, int64. None if all rows of the data set are equally long."""

    def __len__(self) -> int:
        return len(self.targets_N)


@dataclass(frozen=True)
class Rows:
    """Some rows of one split."""

    inputs: Tensor
    """What a `Batch` has, or without padding: all time steps, row after row, (M, F) or (M)."""
    targets_N: Tensor
    lengths_N: Tensor | None = None
    """The time steps of each row, int64. None if all rows of the data set are equally long."""
    is_padded: bool = True
    """Whether each row is one entry of `inputs`. Otherwise it is as many as it has time steps."""

    def __len__(self) -> int:
        return len(self.targets_N)

    @cached_property
    def _starts(self) -> Tensor:
        """Where in `inputs` each row begins, if it is not padded."""
        assert self.lengths_N is not None
        return self.lengths_N.cumsum(0) - self.lengths_N

    @property
    def tensors(self) -> list[Tensor]:
        lengths = [] if self.lengths_N is None else [self.lengths_N]
        return [self.inputs, self.targets_N, *lengths]

    @property
    def num_bytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors)

    def _of(self, tensors: Sequence[Tensor]) -> "Rows":
        inputs, targets_N, *lengths = tensors
        return Rows(inputs, targets_N, lengths[0] if lengths else None, self.is_padded)

    def to(self, device: torch.device) -> "Rows":
        return self._of([tensor.to(device) for tensor in self.tensors])

    def pinned(self) -> "Rows":
        """Return the rows in memory of the host from which a GPU copies while the host goes on."""
        return self._of([tensor.pin_memory() for tensor in self.tensors])

    def take(self, index: Tensor) -> "Rows":
        """Return copies of the rows with these numbers, in this order."""
        if self.is_padded:
            return self._of([tensor[index] for tensor in self.tensors])
        assert self.lengths_N is not None
        lengths = self.lengths_N[index]
        # What is added to the number of a time step among those taken to get its place in inputs.
        offsets = self._starts[index] - (lengths.cumsum(0) - lengths)
        steps = torch.arange(int(lengths.sum()), device=index.device)
        steps += offsets.repeat_interleave(lengths, output_size=len(steps))
        return self._of([self.inputs[steps], self.targets_N[index], lengths])

    def split(self, sizes: Sequence[int]) -> list["Rows"]:
        """Return these rows as parts of the given sizes, without a copy."""
        sizes = list(sizes)
        first, *others = self.tensors
        columns = [torch.split(tensor, sizes) for tensor in others]
        if not self.is_padded:
            sizes = [int(lengths.sum()) for lengths in columns[-1]]
        return [self._of(part) for part in zip(torch.split(first, sizes), *columns, strict=True)]

    def pieces(self, num_rows: int) -> list["Rows"]:
        """Return these rows as parts of up to `num_rows` rows. No rows have no parts."""
        whole, rest = divmod(len(self), num_rows)
        return self.split([num_rows] * whole + [rest] * bool(rest))

    def batch(self) -> Batch:
        """Return the rows padded to the longest of them."""
        if self.is_padded:
            return Batch(self.inputs, self.targets_N, self.lengths_N)
        assert self.lengths_N is not None
        return self.padded(int(self.lengths_N.max())).batch()

    def padded(self, length: int) -> "Rows":
        """Return the rows with padding up to `length` time steps, if they have none yet."""
        if self.is_padded:
            return self
        assert self.lengths_N is not None
        steps = torch.arange(length, device=self.inputs.device)
        is_step_NT = steps < self.lengths_N.unsqueeze(1)
        inputs = self.inputs.new_zeros(len(self), length, *self.inputs.shape[1:])
        inputs[is_step_NT] = self.inputs
        return Rows(inputs, self.targets_N, self.lengths_N)


def padded_to_longest(rows: Rows, data: DataShape) -> Rows:
    """Return the rows padded to the longest sequence of the whole data set."""
    if rows.is_padded or isinstance(data.input, ImageInput):
        return rows
    return rows.padded(data.input.max_length)


def empty_batch(data: DataShape, *shape: int, device: torch.device | None = None) -> Batch:
    """Return memory for rows of any length, as zeros: `shape` rows along several axes.

    Its sequences have one time step, so that pooling has something to look at.
    """
    inputs: Tensor
    lengths: Tensor | None = None
    source = data.input
    if isinstance(source, ImageInput):
        size: tuple[int, ...] = (source.height, source.width)
        dtype = torch.uint8
    elif isinstance(source, TokenInput):
        size, dtype = (source.max_length,), torch.int32
    else:
        size, dtype = (source.max_length, source.num_features), torch.float32
    inputs = torch.zeros(*shape, *size, dtype=dtype, device=device)
    if not isinstance(source, ImageInput) and source.min_length < source.max_length:
        lengths = torch.ones(shape, dtype=torch.int64, device=device)
    is_class = isinstance(data.target, ClassTarget)
    targets = torch.zeros(shape, dtype=torch.int64 if is_class else torch.float32, device=device)
    return Batch(inputs, targets, lengths)


def collected(parts: Iterable[Rows], num_rows: int) -> Rows:
    """Return the rows of all parts, one part after the other, which have `num_rows` in all.

    There is never a second copy of padded rows: each part is copied and left before the next comes.
    """
    iterator = iter(parts)
    whole: Rows | None = None
    at = 0
    for part in iterator:
        if not part.is_padded:
            return joined([part, *iterator])
        if whole is None:
            whole = part._of([t.new_empty(num_rows, *t.shape[1:]) for t in part.tensors])
        _overwrite(whole, at, part)
        at += len(part)
        del part  # before the next one is made
    assert whole is not None
    return whole


def _overwrite(rows: Rows, at: int, part: Rows) -> None:
    """Write a part over the rows from number `at` on."""
    for target, tensor in zip(rows.tensors, part.tensors, strict=True):
        target[at : at + len(part)] = tensor


def joined(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all parts, one part after the other, in one copy."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*(part.tensors for part in parts), strict=True)
    return parts[0]._of([torch.cat(column) for column in columns])


ShardData = dict[str, Rows]
"""The rows of one shard, by split."""
