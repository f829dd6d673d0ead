"""What a user's own model is told of a data set."""

from workers.data.kinds import DataShape


def offered(data: DataShape, read: str) -> dict[str, int]:
    """Return the values of `build.OFFERED` that a data set has.

    `read`: what makes one time step of an image.
    """
    shape = data.input.sequence_shape(read)
    of_input = (
        {"vocabulary_size": shape.vocabulary_size}
        if shape.vocabulary_size
        else {"num_features": shape.num_features}
    )
    return {"num_outputs": data.target.num_outputs, "max_length": shape.max_length, **of_input}
