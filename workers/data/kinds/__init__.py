"""What the rows of a data set are: the kinds of inputs and targets, and the shape of a whole set.

All of it is known before training, is kept with the model, and imports no torch. A new kind begins
here; how its values are read, stored and learnt from is in the rest of `workers.data`.
"""

from workers.data.kinds.inputs import (
    IMAGE_COLUMN,
    NUM_SPECIAL_TOKENS,
    PADDING,
    UNKNOWN,
    ImageInput,
    Input,
    SequenceInput,
    TokenInput,
    VectorInput,
)
from workers.data.kinds.shape import SPLITS, DataShape
from workers.data.kinds.targets import ClassTarget, NumberTarget, Target, class_name

__all__ = [
    "IMAGE_COLUMN",
    "NUM_SPECIAL_TOKENS",
    "PADDING",
    "SPLITS",
    "UNKNOWN",
    "ClassTarget",
    "DataShape",
    "ImageInput",
    "Input",
    "NumberTarget",
    "SequenceInput",
    "Target",
    "TokenInput",
    "VectorInput",
    "class_name",
]
