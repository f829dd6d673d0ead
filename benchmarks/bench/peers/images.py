"""Read the images that the peers train on."""

from pathlib import Path

import pyarrow.parquet as pq
import torch
from torch import Tensor

SIZE = 28


def load(folder: Path, split: str) -> tuple[Tensor, Tensor]:
    """Return the images of `train` or `test`, (N, 28, 28) uint8, and the labels, (N) int64."""
    table = pq.read_table(folder / f"{split}.parquet").combine_chunks()
    pixels = table["image"].combine_chunks().flatten().to_numpy()
    images = torch.from_numpy(pixels.copy()).view(-1, SIZE, SIZE)
    return images, torch.from_numpy(table["label"].to_numpy().copy())


def normalize(images: Tensor) -> Tensor:
    return (images.float() / 255 - 0.1307) / 0.3081
