"""Pictures of any size and colour as the images that a model reads. It decodes PNG and JPEG.

C channels, H height, W width; N images.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from workers.data.kinds import ImageInput
from workers.errors import DataError

MAX_PIXELS = 2**26
"""The most pixels of a picture: unpacked, they take a byte for each channel."""
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises for a file that it cannot decode."""
_CURE = "name PNG or JPEG files that can be opened"
_GREY_C = (0.299, 0.587, 0.114)
"""How bright red, green and blue are (ITU-R BT.601)."""
_WHITE = 255.0


@dataclass(frozen=True)
class Picture:
    """A picture in the form that a model reads, and what was done for it."""

    image_HW: Tensor
    """uint8."""
    was_colour: bool
    was_resized: bool
    was_inverted: bool


def read_picture(data: bytes, name: str, kind: ImageInput, invert: bool | None) -> Picture:
    """Return a PNG or JPEG file as an image for a model.

    Args:
        invert: whether bright becomes dark; None: if the border is bright, and the model was
            trained on bright images on dark ground.

    Raises DataError if it is none that can be decoded.
    """
    pixels_CHW = _decoded(data, name)
    grey_HW, was_colour = _grey(pixels_CHW)
    if invert is None:
        invert = kind.mean < 0.5 and _border(grey_HW) > _WHITE / 2
    if invert:
        grey_HW = _WHITE - grey_HW
    is_other_size = grey_HW.shape != (kind.height, kind.width)
    image_HW = resized(_padded(grey_HW, kind).unsqueeze(0), kind)[0] if is_other_size else grey_HW
    return Picture(image_HW.round().clamp(0, _WHITE).byte(), was_colour, is_other_size, invert)


def resized(images_NHW: Tensor, kind: ImageInput) -> Tensor:
    """Return images in the model's size, as floats from 0 to 255."""
    return F.interpolate(
        images_NHW.float().unsqueeze(1),
        (kind.height, kind.width),
        mode="bilinear",
        antialias=True,
    ).squeeze(1)


def _decoded(data: bytes, name: str) -> Tensor:
    """Return the channels (C, H, W) of a picture, uint8."""
    try:
        with warnings.catch_warnings():
            # Pillow's own limit of pixels is a warning, and then an error; ours is below both.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if picture.width * picture.height > MAX_PIXELS:
            raise Image.DecompressionBombError
        return _channels(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is no PNG or JPEG file that can be opened", _CURE) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{name} has more than {MAX_PIXELS:,} pixels", "scale it down") from error
    except _DAMAGE as error:
        why = (str(error).splitlines() or [""])[0][:200]
        raise DataError(f"{name} is damaged: {why}", _CURE) from error


def _channels(picture: Image.Image) -> Tensor:
    """Return grey, or red, green and blue; and then how opaque each pixel is, unless all are.

    Pillow itself reads 16 bits of a colour as 8, of grey as 16.
    """
    if picture.mode.startswith("I"):
        pixels_HW = torch.from_numpy(np.array(picture, np.float32)) / 257
        return pixels_HW.round().byte().unsqueeze(0)
    is_grey = picture.mode in ("1", "L", "LA")
    mode = "L" if is_grey else "RGB"
    if picture.has_transparency_data:
        mode = "LA" if is_grey else "RGBA"
    pixels = torch.from_numpy(np.array(picture.convert(mode)))
    return pixels.unsqueeze(0) if mode == "L" else pixels.permute(2, 0, 1)


def _grey(pixels_CHW: Tensor) -> tuple[Tensor, bool]:
    """Return how bright each pixel is, from 0 to 255, and whether there were colours.

    What is transparent is on white paper.
    """
    pixels = pixels_CHW.float()
    num_channels = len(pixels)
    has_alpha = num_channels in (2, 4)
    colours = pixels[:-1] if has_alpha else pixels
    was_colour = len(colours) == 3 and not bool((colours == colours[:1]).all())
    weights = torch.tensor(_GREY_C if was_colour else (1.0,))
    grey_HW = (colours[: len(weights)] * weights.view(-1, 1, 1)).sum(0)
    if has_alpha:
        share_HW = pixels[-1] / 255
        grey_HW = grey_HW * share_HW + _WHITE * (1 - share_HW)
    return grey_HW, was_colour


def _border_pixels(grey_HW: Tensor) -> Tensor:
    return torch.cat([grey_HW[0], grey_HW[-1], grey_HW[:, 0], grey_HW[:, -1]])


def _border(grey_HW: Tensor) -> float:
    """Return how bright the outermost pixels are on average."""
    return float(_border_pixels(grey_HW).mean())


def _padded(grey_HW: Tensor, kind: ImageInput) -> Tensor:
    """Return a picture with more ground around it, so that it keeps its form when resized."""
    height, width = grey_HW.shape
    wanted_height = max(height, -(-width * kind.height // kind.width))
    wanted_width = max(width, -(-height * kind.width // kind.height))
    above, left = (wanted_height - height) // 2, (wanted_width - width) // 2
    right, below = wanted_width - width - left, wanted_height - height - above
    ground = float(_border_pixels(grey_HW).median())
    return F.pad(grey_HW, (left, right, above, below), value=ground)
