"""The columns of a shard: how rows of each kind lie in Parquet and in Arrow. It imports no torch.

======== ========================================= ==============================================
kind     column                                    one row holds
======== ========================================= ==============================================
image    `image`: fixed-size list of uint8         height * width pixels, row after row
vectors  `values`: list of float32                 its time steps, one after the other, each with
                                                   `num_features` numbers. NaN: a missing number
tokens   `tokens`: list of int32                   the number of the token of each time step
classes  `label`: uint8 (images), `target`: int32  the number of the class
number   `target`: float64                         the number
======== ========================================= ==============================================

Values are stored as they are; the model scales them.
"""

import pyarrow as pa

from workers.data.kinds import DataShape, ImageInput, NumberTarget, TokenInput, VectorInput


def input_field(kind: ImageInput | VectorInput | TokenInput) -> pa.Field:
    """Return the column of the inputs."""
    if isinstance(kind, ImageInput):
        return pa.field("image", pa.list_(pa.uint8(), kind.height * kind.width))
    if isinstance(kind, VectorInput):
        return pa.field("values", pa.list_(pa.float32()))
    return pa.field("tokens", pa.list_(pa.int32()))


def target_field(shape: DataShape) -> pa.Field:
    """Return the column of the targets."""
    if isinstance(shape.target, NumberTarget):
        return pa.field("target", pa.float64())
    # The files of images are older than those of other kinds, and stay as they are.
    if isinstance(shape.input, ImageInput):
        return pa.field("label", pa.uint8())
    return pa.field("target", pa.int32())


def shard_schema(shape: DataShape) -> pa.Schema:
    """Return the columns of the data set's shards."""
    return pa.schema([input_field(shape.input), target_field(shape)])
