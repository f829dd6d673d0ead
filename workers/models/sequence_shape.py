"""What a model must know of a data set's sequences."""

from dataclasses import dataclass

from workers.data.kinds import DataShape, ImageInput, TokenInput


@dataclass(frozen=True)
class SequenceShape:
    """What a model must know of the sequences that it reads."""

    max_length: int
    """The most time steps."""
    has_lengths: bool
    """Whether the sequences have different lengths, so that the model gets them."""
    num_features: int
    """The numbers of a time step; 1 for tokens."""
    vocabulary_size: int
    """How many numbers a token may have; 0 if the sequences are not tokens."""


def sequence_shape(data: DataShape, read: str) -> SequenceShape:
    """Return the form of a data set's sequences. `read`: what makes a time step of an image."""
    source = data.input
    if isinstance(source, ImageInput):
        height, width = source.height, source.width
        steps, features = {
            "rows": (height, width), "columns": (width, height), "pixels": (height * width, 1)
        }[read]  # fmt: skip
        return SequenceShape(steps, False, features, 0)
    has_lengths = source.min_length < source.max_length
    if isinstance(source, TokenInput):
        return SequenceShape(source.max_length, has_lengths, 1, source.vocabulary_size)
    return SequenceShape(source.max_length, has_lengths, source.num_features, 0)
