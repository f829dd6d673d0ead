"""What a user's own model is told of a data set."""

from workers.data.kinds import DataShape, ImageInput, TokenInput


def offered(data: DataShape, read: str) -> dict[str, int]:
    """Return the values of `build.OFFERED` that a data set has.

    `read`: what makes one time step of an image.
    """
    source = data.input
    outputs = {"num_outputs": data.target.num_outputs}
    if isinstance(source, TokenInput):
        return {
            **outputs,
            "vocabulary_size": source.vocabulary_size,
            "max_length": source.max_length,
        }
    if isinstance(source, ImageInput):
        features, steps = {
            "rows": (source.width, source.height),
            "columns": (source.height, source.width),
            "pixels": (1, source.height * source.width),
        }[read]
        return {**outputs, "num_features": features, "max_length": steps}
    return {**outputs, "num_features": source.num_features, "max_length": source.max_length}


def shortest(data: DataShape, read: str) -> int:
    """Return the time steps of the shortest sequence."""
    source = data.input
    if isinstance(source, ImageInput):
        return offered(data, read)["max_length"]
    return source.min_length
