"""What the rows of a data set are: the kinds of inputs and targets, and the shape of a whole set.

All of it is known before training, is kept with the model, and imports no torch.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from workers.data.base import (
    Config,
    NonNegativeInt,
    Number,
    Positive,
    PositiveInt,
)

SPLITS = ("train", "validation", "test")
PADDING, UNKNOWN, NUM_SPECIAL_TOKENS = 0, 1, 2
"""The first numbers of tokens: what fills a sequence up, and what the training rows lack."""


def class_name(value: object) -> str:
    """Return the name of the class that a text, an integer or a boolean stands for."""
    return str(value).lower() if isinstance(value, bool) else str(value)


class ImageInput(Config):
    """Images of one size, with one byte for a pixel."""

    kind: Literal["image"] = "image"
    height: PositiveInt
    width: PositiveInt
    mean: Number = 0.0
    std: Positive = 1.0
    """From pixels within [0, 1], `mean` is subtracted; `std` divides the result."""


class VectorInput(Config):
    """Sequences of vectors of one width, float32."""

    kind: Literal["vectors"] = "vectors"
    columns: tuple[str, ...]
    """The columns that hold them: one with vectors or numbers, or one column for each feature."""
    num_features: PositiveInt
    min_length: PositiveInt
    max_length: PositiveInt
    """The time steps of the shortest and of the longest sequence of any split."""
    mean: tuple[Number, ...]
    std: tuple[Positive, ...]
    """For each feature, `mean` is subtracted; `std` divides the result."""
    missing: Literal["error", "zero"] = "error"
    """`zero`: a missing number is NaN in the rows, and 0 after normalization."""
    limit: PositiveInt | None = None
    truncate: Literal["error", "head", "tail"] = "error"
    """A sequence of more than `limit` time steps is an error, or keeps its first or last ones."""

    @model_validator(mode="after")
    def _check(self) -> "VectorInput":
        if not len(self.mean) == len(self.std) == self.num_features:
            raise ValueError("mean and std must have a number for each feature")
        if self.min_length > self.max_length:
            raise ValueError("min_length is above max_length")
        return self


class TokenInput(Config):
    """Sequences of tokens. Token k of the vocabulary has the number NUM_SPECIAL_TOKENS + k."""

    kind: Literal["tokens"] = "tokens"
    column: str
    min_length: PositiveInt
    max_length: PositiveInt
    """The time steps of the shortest and of the longest sequence of any split."""
    vocabulary: tuple[str, ...] | tuple[Annotated[int, Field(strict=True)], ...]
    """The tokens of the training rows, texts or integers, in ascending order."""
    missing: Literal["error", "zero"] = "error"
    """`zero`: a missing token is unknown."""
    limit: PositiveInt | None = None
    truncate: Literal["error", "head", "tail"] = "error"
    """A sequence of more than `limit` time steps is an error, or keeps its first or last ones."""

    @property
    def vocabulary_size(self) -> int:
        """How many numbers a token may have."""
        return NUM_SPECIAL_TOKENS + len(self.vocabulary)


class ClassTarget(Config):
    """One of several classes, int64."""

    kind: Literal["classes"] = "classes"
    column: str
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    """The classes in ascending order of their values."""
    values: Literal["text", "integer", "boolean"] = "integer"
    """What the column holds."""
    train_counts: tuple[NonNegativeInt, ...] = ()
    """How many training rows each class has. Old data sets do not have it."""

    @property
    def num_outputs(self) -> int:
        return len(self.names)


class NumberTarget(Config):
    """A number, float32."""

    kind: Literal["number"] = "number"
    column: str
    mean: Number
    std: Positive
    """Over the training rows. The model's output is in units of `std` around `mean`."""

    @property
    def num_outputs(self) -> int:
        return 1


Input = Annotated[ImageInput | VectorInput | TokenInput, Field(discriminator="kind")]
Target = Annotated[ClassTarget | NumberTarget, Field(discriminator="kind")]


class DataShape(Config):
    """What is known of a prepared data set without reading its rows."""

    name: str
    fingerprint: str
    """A hash of all rows in their order, and of what they were made to."""
    rows_digest: str = ""
    """A hash of all rows in any order. Old data sets do not have it."""
    num_shards: PositiveInt
    input: Input
    target: Target
    train_rows: PositiveInt
    validation_rows: NonNegativeInt
    test_rows: PositiveInt
    test_head_rows: NonNegativeInt = 0
    """The accuracy on the first so many test rows is reported beside that on the whole split; 0
    means it is not."""

    @model_validator(mode="before")
    @classmethod
    def _upgraded(cls, content: Any) -> Any:
        """Accept the form that data sets of images had before there were other kinds."""
        if not (isinstance(content, dict) and "num_classes" in content):
            return content
        names = {"height": "height", "width": "width", "pixel_mean": "mean", "pixel_std": "std"}
        image = {new: content[old] for old, new in names.items() if old in content}
        num_classes = content["num_classes"]
        if not (isinstance(num_classes, int) and 0 < num_classes <= 256):
            raise ValueError(f"num_classes is {str(num_classes)[:80]}")
        rest = {k: v for k, v in content.items() if k not in names and k != "num_classes"}
        target = {
            "kind": "classes", "column": "label", "names": [str(n) for n in range(num_classes)]
        }  # fmt: skip
        return {**rest, "input": {"kind": "image", **image}, "target": target}

    def num_rows(self, split: str) -> int:
        return {
            "train": self.train_rows,
            "validation": self.validation_rows,
            "test": self.test_rows,
        }[split]
