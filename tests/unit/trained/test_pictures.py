"""Pictures as the images of a model. H height, W width."""

import struct
import zlib

import pytest
import torch
from torchvision.io import encode_jpeg, encode_png

from workers.data.kinds import ImageInput
from workers.data.pictures import MAX_PIXELS, Picture, read_picture
from workers.errors import DataError

DARK = ImageInput(height=28, width=28, mean=0.13, std=0.3)
BRIGHT = ImageInput(height=28, width=28, mean=0.8, std=0.3)


def stroke(height: int = 28, width: int = 28) -> torch.Tensor:
    """A bright stroke on dark ground."""
    image_HW = torch.zeros(height, width, dtype=torch.uint8)
    image_HW[height // 4 : -height // 4, width // 2 - 2 : width // 2 + 2] = 255
    return image_HW


def png(image: torch.Tensor) -> bytes:
    channels = image if image.dim() == 3 else image[None]
    return bytes(encode_png(channels.contiguous()).numpy())


def read(data: bytes, kind: ImageInput = DARK, invert: bool | None = None) -> Picture:
    return read_picture(data, "x.png", kind, invert)


def test_a_picture_in_the_form_of_the_model_stays_as_it_is() -> None:
    picture = read(png(stroke()))
    assert torch.equal(picture.image_HW, stroke())
    assert not (picture.was_colour or picture.was_resized or picture.was_inverted)


def test_dark_on_bright_is_inverted_if_the_model_knows_bright_on_dark() -> None:
    picture = read(png(255 - stroke()))
    assert picture.was_inverted and torch.equal(picture.image_HW, stroke())
    assert not read(png(255 - stroke()), BRIGHT).was_inverted
    assert not read(png(255 - stroke()), DARK, invert=False).was_inverted
    assert read(png(stroke()), DARK, invert=True).was_inverted


def test_colours_become_grey_as_bright_as_they_look() -> None:
    colours = torch.zeros(3, 28, 28, dtype=torch.uint8)
    colours[1] = 100
    picture = read(png(colours))
    assert picture.was_colour and int(picture.image_HW[3, 3]) == round(0.587 * 100)
    grey = read(png(stroke()[None].repeat(3, 1, 1)))
    assert not grey.was_colour and torch.equal(grey.image_HW, stroke())


def test_another_size_is_smoothed_and_keeps_its_form() -> None:
    large = read(png(stroke().repeat_interleave(10, 0).repeat_interleave(10, 1)))
    assert large.was_resized and large.image_HW.shape == (28, 28)
    assert (large.image_HW.float() - stroke().float()).abs().max() < 80, "only the edges differ"
    tall = torch.zeros(56, 28, dtype=torch.uint8)
    tall[:, 10:18] = 255
    fitted = read(png(tall)).image_HW
    width = int((fitted[14] > 127).sum())
    assert width == 4, "half the width, since the height was halved"
    tall_on_white = read(png(255 - tall)).image_HW
    assert not tall_on_white[:, 0].any(), "what is added has the colour of the ground"


def test_a_jpeg_is_read_too() -> None:
    data = bytes(encode_jpeg(stroke()[None], quality=95).numpy())
    assert (read(data).image_HW.float() - stroke().float()).abs().mean() < 4


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0rest"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.png is (no PNG or JPEG file|damaged)"):
        read(data)


def test_half_a_picture_is_refused() -> None:
    data = png(torch.randint(0, 255, (64, 64)).byte())
    with pytest.raises(DataError, match="damaged"):
        read(data[: len(data) // 2])


def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_unpacked() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 2**20, 2**20, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    with pytest.raises(DataError, match=f"above {MAX_PIXELS:,}"):
        read(b"\x89PNG\r\n\x1a\n" + chunk)
    jpeg = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 60000, 60000)
    with pytest.raises(DataError, match="pixels"):
        read(jpeg + b"\3" * 10)
