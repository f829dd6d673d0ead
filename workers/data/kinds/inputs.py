"""The kinds of inputs: what a row is before a model reads it.

Each answers what the rest of rnnjob asks of its inputs, so that only what reads, stores and
computes with their values must know which kinds there are. Imports no torch.
"""

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workers.data.base import MAX_FLOAT32, Config, Number, Positive, PositiveInt
from workers.data.kinds.sequence_shape import SequenceShape

if TYPE_CHECKING:
    from typing_extensions import Self

PADDING, UNKNOWN, NUM_SPECIAL_TOKENS = 0, 1, 2
"""The first numbers of tokens: what fills a sequence up, and what the training rows lack."""
IMAGE_COLUMN = "image"
_MAX_IMAGE_CLASSES = 256
"""The most classes that labels of one byte can tell apart."""
MAX_VALUES = 2**31 - 1
"""The longest list that Arrow allows, and the most values of a list column of a shard."""


class ImageInput(Config):
    """Images of one size, with one byte for a pixel."""

    noun: ClassVar = "images"
    """What rows of this kind are called."""
    is_table: ClassVar = False
    """Whether the rows come from a user's tables, in which any column may be the target."""
    keys: ClassVar = frozenset({"augment", "augment.noise", "model.read"})
    """The keys of a job that have a meaning for this kind of inputs, but not for all."""

    kind: Literal["image"] = "image"
    height: PositiveInt
    width: PositiveInt
    mean: Number = 0.0
    std: Positive = 1.0
    """From pixels within [0, 1], `mean` is subtracted; `std` divides the result."""

    @property
    def read_columns(self) -> tuple[str, ...]:
        """The columns of a table that a model reads."""
        return (IMAGE_COLUMN,)

    def sequence_shape(self, read: str) -> SequenceShape:
        """Return the form of the sequences. `read`: what makes a time step of an image."""
        steps, features = {
            "rows": (self.height, self.width),
            "columns": (self.width, self.height),
            "rows-and-columns": (max(self.height, self.width), self.width + self.height),
            "pixels": (self.height * self.width, 1),
        }[read]
        return SequenceShape(steps, steps, features, 0)

    def shortened(self, read: str, max_steps: int) -> "Self":
        """Return the kind of images of at most so many time steps, if `read` allows it."""
        height, width = self.height, self.width
        if read == "columns":
            width = min(width, max_steps)
        elif read == "rows":
            height = min(height, max_steps)
        elif read == "rows-and-columns":
            height, width = min(height, max_steps), min(width, max_steps)
        else:
            height = max(1, min(height, max_steps // width))
        return self.model_copy(update={"height": height, "width": width})

    def unscaled(self) -> "Self":
        """Return the same kind, whose values the model reads as they are."""
        return self.model_copy(update={"mean": 0.0, "std": 1.0})

    def num_values(self, rows: int, steps: int) -> int:
        """Return how many pixels, numbers or tokens so many rows have.

        `steps`: the time steps of all of them, which nobody counts for images.
        """
        return rows * self.height * self.width

    def num_bytes(self, rows: int, steps: int) -> int:
        """Return how much memory the rows take, with their targets."""
        return self.num_values(rows, steps) + 8 * rows

    def steps_of(self, rows: int) -> tuple[int, int] | None:
        """Return the fewest and the most time steps of so many rows; None if nobody counts them."""
        return None

    def check_size(self, num_outputs: int) -> None:
        """Raise ValueError if no file of a shard could hold such rows."""
        if num_outputs > _MAX_IMAGE_CLASSES:
            raise ValueError(f"{num_outputs} classes are more than {_MAX_IMAGE_CLASSES}")
        if self.height * self.width > MAX_VALUES:
            raise ValueError(f"images of {self.height} by {self.width} pixels are too large")

    def check_values(self, values: NDArray[Any], sizes_N: NDArray[np.int64]) -> None:
        """Raise ValueError if stored values are none of this kind.

        Args:
            values: those of all rows, one after the other.
            sizes_N: how many values each row has.
        """


class SequenceInput(Config):
    """What sequences of vectors and of tokens have in common."""

    is_table: ClassVar = True

    min_length: PositiveInt
    max_length: PositiveInt
    """The time steps of the shortest and of the longest sequence of any split."""
    missing: Literal["error", "zero"] = "error"
    limit: PositiveInt | None = None
    truncate: Literal["error", "head", "tail"] = "error"
    """A sequence of more than `limit` time steps is an error, or keeps its first or last ones."""

    @property
    def width(self) -> int:
        """The numbers of a time step."""
        raise NotImplementedError

    @property
    def identity(self) -> list[object]:
        """What tells two data sets apart whose stored values are equal."""
        raise NotImplementedError

    def shortened(self, read: str, max_steps: int) -> "Self":
        return self

    def num_values(self, rows: int, steps: int) -> int:
        return steps * self.width

    def num_bytes(self, rows: int, steps: int) -> int:
        is_ragged = self.min_length < self.max_length  # then there are lengths, too
        return 4 * self.num_values(rows, steps) + (16 if is_ragged else 8) * rows

    def steps_of(self, rows: int) -> tuple[int, int] | None:
        return rows * self.min_length, rows * self.max_length

    def check_size(self, num_outputs: int) -> None:
        if self.max_length * self.width > MAX_VALUES:
            raise ValueError(f"sequences of {self.max_length} time steps are too long")

    def check_values(self, values: NDArray[Any], sizes_N: NDArray[np.int64]) -> None:
        is_right = self._allows(values)
        if not is_right.all():
            wrong = values[~is_right][0]
            raise ValueError(f"it has the input {wrong}, which the manifest excludes")
        lengths_N = sizes_N // self.width
        if (lengths_N * self.width != sizes_N).any() or not (
            self.min_length <= lengths_N.min() and lengths_N.max() <= self.max_length
        ):
            raise ValueError(
                f"its sequences do not have {self.min_length} to {self.max_length} time steps"
            )

    def _allows(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        """Return which stored values are of this kind."""
        raise NotImplementedError


class VectorInput(SequenceInput):
    """Sequences of vectors of one width, float32.

    If `missing` is `zero`, a missing number is NaN in the rows, and 0 after normalization.
    """

    noun: ClassVar = "sequences"
    keys: ClassVar = frozenset({"augment.noise", "augment.offset"})

    kind: Literal["vectors"] = "vectors"
    columns: tuple[str, ...]
    """The columns that hold them: one with vectors or numbers, or one column for each feature."""
    num_features: PositiveInt
    mean: tuple[Number, ...]
    std: tuple[Positive, ...]
    """For each feature, `mean` is subtracted; `std` divides the result."""

    @model_validator(mode="after")
    def _check(self) -> "Self":
        if not len(self.mean) == len(self.std) == self.num_features:
            raise ValueError("mean and std must have a number for each feature")
        if self.min_length > self.max_length:
            raise ValueError("min_length is above max_length")
        return self

    @property
    def width(self) -> int:
        return self.num_features

    @property
    def read_columns(self) -> tuple[str, ...]:
        return self.columns

    @property
    def identity(self) -> list[object]:
        return ["vectors", self.num_features]

    def sequence_shape(self, read: str) -> SequenceShape:
        return SequenceShape(self.min_length, self.max_length, self.num_features, 0)

    def unscaled(self) -> "Self":
        scales = {"mean": (0.0,) * self.num_features, "std": (1.0,) * self.num_features}
        return self.model_copy(update=scales)

    def _allows(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        is_right: NDArray[np.bool_] = np.abs(values) <= MAX_FLOAT32
        return is_right | np.isnan(values) if self.missing == "zero" else is_right


class TokenInput(SequenceInput):
    """Sequences of tokens. Token k of the vocabulary has the number NUM_SPECIAL_TOKENS + k.

    If `missing` is `zero`, a missing token is unknown.
    """

    noun: ClassVar = "tokens"
    keys: ClassVar = frozenset({"model.embedding_size"})

    kind: Literal["tokens"] = "tokens"
    column: str
    vocabulary: tuple[str, ...] | tuple[Annotated[int, Field(strict=True)], ...]
    """The tokens of the training rows, texts or integers, in ascending order."""

    @property
    def width(self) -> int:
        return 1

    @property
    def vocabulary_size(self) -> int:
        """How many numbers a token may have."""
        return NUM_SPECIAL_TOKENS + len(self.vocabulary)

    @property
    def read_columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def identity(self) -> list[object]:
        return ["tokens", list(self.vocabulary)]

    def sequence_shape(self, read: str) -> SequenceShape:
        return SequenceShape(self.min_length, self.max_length, 1, self.vocabulary_size)

    def unscaled(self) -> "Self":
        return self

    def _allows(self, values: NDArray[Any]) -> NDArray[np.bool_]:
        is_right: NDArray[np.bool_] = (values > 0) & (values < self.vocabulary_size)
        return is_right


Input = Annotated[ImageInput | VectorInput | TokenInput, Field(discriminator="kind")]
