"""Random changes of training rows.

Images are shifted, rotated, scaled and sheared in one bilinear resampling. Gaussian noise is for
all numbers, an offset for sequences of them. B batch, H height, W width, T time steps, F features.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.config import AugmentConfig
from workers.models.noise import NoiseSource


def move(images_BHW: Tensor, config: AugmentConfig, noise: NoiseSource) -> Tensor:
    """Return each image under an affine map of its own. Pixels from outside the image are 0."""
    batch, height, width = images_BHW.shape
    drawn_B5 = noise.uniform(5) * 2 - 1
    angle, size, shear, shift_x, shift_y = drawn_B5.unbind(1)
    angle = angle * math.radians(config.rotate_deg)
    size = 1 + size * config.scale
    shear = shear * config.shear
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    # affine_grid maps output to input coordinates in [-1, 1], so that a pixel is 2/width wide.
    theta_B23 = torch.stack(
        [
            torch.stack([cos, shear * cos - sin, shift_x * config.shift_px * 2 / width], dim=1),
            torch.stack([sin, shear * sin + cos, shift_y * config.shift_px * 2 / height], dim=1),
        ],
        dim=1,
    )
    grid = F.affine_grid(theta_B23, [batch, 1, height, width], align_corners=False)
    return F.grid_sample(images_BHW.unsqueeze(1), grid, align_corners=False).squeeze(1)


def add_noise(inputs: Tensor, config: AugmentConfig, noise: NoiseSource | None) -> Tensor:
    """Return inputs (B, ...) with Gaussian noise on each number.

    Returns the inputs themselves if there is no noise.
    """
    if noise is None or config.noise == 0.0:
        return inputs
    return inputs + config.noise * _normal(noise, *inputs.shape[1:])


def add_offset(vectors_BTF: Tensor, config: AugmentConfig, noise: NoiseSource | None) -> Tensor:
    """Return sequences with a Gaussian number on each feature, the same at all steps of a row.

    Returns the sequences themselves if there is no offset.
    """
    if noise is None or config.offset == 0.0:
        return vectors_BTF
    return vectors_BTF + config.offset * _normal(noise, 1, vectors_BTF.shape[2])


def _normal(noise: NoiseSource, *shape: int) -> Tensor:
    """Return standard normal numbers (B, *shape).

    They come from pairs of uniform ones (Box and Muller, 1958), as a source of noise draws these.
    """
    radius, turn = noise.uniform(2, *shape).unbind(1)
    # 1 - u is in (0, 1], so its logarithm is finite.
    return torch.sqrt(-2.0 * torch.log1p(-radius)) * torch.cos(2.0 * math.pi * turn)
