"""Random affine changes of images: shift, rotation, scale and shear, in one bilinear resampling.

B batch, H height, W width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from workers.config import AugmentConfig
from workers.models.noise import NoiseSource


def augment(images_BHW: Tensor, config: AugmentConfig, noise: NoiseSource) -> Tensor:
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
