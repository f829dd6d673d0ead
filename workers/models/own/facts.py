"""What a user's own model is told of a data set."""

from workers.data.kinds import DataShape, ImageInput
from workers.models.sequence_shape import sequence_shape


def offered(data: DataShape, read: str) -> dict[str, int]:
    """Return the values of `build.OFFERED` that a data set has.

    `read`: what makes one time step of an image.
    """
    shape = sequence_shape(data, read)
    of_input = (
        {"vocabulary_size": shape.vocabulary_size}
        if shape.vocabulary_size
        else {"num_features": shape.num_features}
    )
    return {"num_outputs": data.target.num_outputs, "max_length": shape.max_length, **of_input}


def shortest(data: DataShape, read: str) -> int:
    """Return the time steps of the shortest sequence."""
    if isinstance(data.input, ImageInput):
        return sequence_shape(data, read).max_length
    return data.input.min_length
