"""What a model must know of the sequences that it reads."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SequenceShape:
    """The form of a data set's sequences, for whatever computes with them."""

    min_length: int
    max_length: int
    """The fewest and the most time steps."""
    num_features: int
    """The numbers of a time step; 1 for tokens."""
    vocabulary_size: int
    """How many numbers a token may have; 0 if the sequences are not tokens."""

    @property
    def has_lengths(self) -> bool:
        """Whether the sequences have different lengths, so that the model gets them."""
        return self.min_length < self.max_length
