"""Made-up rows of any kind of data."""

import torch

from tests.unit.workers.data.data_sets import random_rows
from workers.data.kinds import DataShape, ImageInput
from workers.data.rows import Rows


def rows_of(shape: DataShape, number: int, seed: int = 0) -> Rows:
    """Return rows of a data set; images are noise."""
    if not isinstance(shape.input, ImageInput):
        return random_rows(shape, number, seed)
    generator = torch.Generator().manual_seed(seed)
    size = (number, shape.input.height, shape.input.width)
    images = torch.randint(0, 256, size, generator=generator).to(torch.uint8)
    classes = torch.randint(0, shape.target.num_outputs, (number,), generator=generator)
    return Rows(images, classes)
