"""A recurrent network that sweeps over an image down and up, and then right and left.

The image is cut into a grid of patches. A bidirectional LSTM reads each column of the grid, and a
second one each row of what the first has said, with the same weights for all columns and for all
rows. So each place comes to know the whole image, and what moves in the image moves in the grid.
A further level cuts the grid of the one below into patches. This is ReNet (Visin et al., 2015,
arXiv:1505.00393) with LSTMs, overlapping patches of pixels, and a maximum over the last grid.

B images, R rows and C columns of a grid, F features of a place, K outputs.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_PIXELS, _STRIDE = 4, 2
"""The height and width of a patch of pixels, and how far the next one is."""


class Sweeps(nn.Module):
    """From images, as sequences of their rows (B, height, width), to outputs (B, K).

    Args:
        num_outputs: K.
        sizes: of each level, the size of its LSTMs in each of their directions.
    """

    def __init__(self, num_outputs: int, sizes: Sequence[int] = (32, 64)) -> None:
        super().__init__()
        num_values = [_PIXELS**2, *(_STRIDE**2 * 2 * size for size in sizes[:-1])]
        self.levels = nn.ModuleList(
            Level(values, size) for values, size in zip(num_values, sizes, strict=True)
        )
        self.head = nn.Linear(2 * sizes[-1], num_outputs)

    def forward(self, images: Tensor) -> Tensor:
        border = (_PIXELS - _STRIDE) // 2
        grid_BRCF = _patches(F.pad(images, (border,) * 4).unsqueeze(3), _PIXELS)
        for number, level in enumerate(self.levels):
            grid_BRCF = level(_patches(grid_BRCF, _STRIDE) if number else grid_BRCF)
        outputs_BK: Tensor = self.head(grid_BRCF.amax(dim=(1, 2)))
        return outputs_BK


class Level(nn.Module):
    """From a grid (B, R, C, F) to what is known at each place, (B, R, C, twice the size)."""

    def __init__(self, num_features: int, size: int) -> None:
        super().__init__()
        self.down_and_up = _both_ways(num_features, size)
        self.right_and_left = _both_ways(2 * size, size)

    def forward(self, grid_BRCF: Tensor) -> Tensor:
        grid_BCRF = _read_rows(grid_BRCF.transpose(1, 2), self.down_and_up)
        return _read_rows(grid_BCRF.transpose(1, 2), self.right_and_left)


def _patches(grid_BRCF: Tensor, size: int) -> Tensor:
    """Return a grid whose places hold all features of a patch. What fills no patch is left out."""
    # Tensor.unfold would do it, but not in ONNX.
    ends = [offset - size + 1 or None for offset in range(size)]
    parts = [
        grid_BRCF[:, row : ends[row] : _STRIDE, column : ends[column] : _STRIDE]
        for row in range(size)
        for column in range(size)
    ]
    return torch.stack(parts, dim=4).flatten(start_dim=3)


def _both_ways(num_features: int, size: int) -> nn.LSTM:
    """Return a bidirectional LSTM that remembers at first (Jozefowicz et al., 2015)."""
    lstm = nn.LSTM(num_features, size, batch_first=True, bidirectional=True)
    for name, bias in lstm.named_parameters():
        if name.startswith("bias_ih"):
            nn.init.ones_(bias.data[size : 2 * size])
    return lstm


def _read_rows(grid: Tensor, lstm: nn.LSTM) -> Tensor:
    """Return what an LSTM says of the places of a grid. Each row is a sequence of its own."""
    batch, rows, columns, features = grid.shape
    outputs, _ = lstm(grid.reshape(batch * rows, columns, features))
    known: Tensor = outputs.reshape(batch, rows, columns, -1)
    return known
