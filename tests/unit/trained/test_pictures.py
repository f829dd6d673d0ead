"""Pictures as the images of a model. H height, W width."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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


def encoded(image: torch.Tensor, form: str = "PNG", **options: object) -> bytes:
    """A file with one grey or three coloured channels."""
    pixels = image.numpy() if image.dim() == 2 else image.permute(1, 2, 0).numpy()
    return saved(Image.fromarray(pixels), form, **options)


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def read(data: bytes, kind: ImageInput = DARK, invert: bool | None = None) -> Picture:
    return read_picture(data, "x.png", kind, invert)


def test_a_picture_in_the_form_of_the_model_stays_as_it_is() -> None:
    picture = read(encoded(stroke()))
    assert torch.equal(picture.image_HW, stroke())
    assert not (picture.was_colour or picture.was_resized or picture.was_inverted)


def test_dark_on_bright_is_inverted_if_the_model_knows_bright_on_dark() -> None:
    picture = read(encoded(255 - stroke()))
    assert picture.was_inverted and torch.equal(picture.image_HW, stroke())
    assert not read(encoded(255 - stroke()), BRIGHT).was_inverted
    assert not read(encoded(255 - stroke()), DARK, invert=False).was_inverted
    assert read(encoded(stroke()), DARK, invert=True).was_inverted


def test_colours_become_grey_as_bright_as_they_look() -> None:
    colours = torch.zeros(3, 28, 28, dtype=torch.uint8)
    colours[1] = 100
    picture = read(encoded(colours))
    assert picture.was_colour and int(picture.image_HW[3, 3]) == round(0.587 * 100)
    grey = read(encoded(stroke().repeat(3, 1, 1)))
    assert not grey.was_colour and torch.equal(grey.image_HW, stroke())


def test_a_palette_is_looked_up_and_what_is_transparent_is_on_white_paper() -> None:
    image_HW = np.zeros((28, 28), np.uint8)
    image_HW[14:] = 1
    picture = Image.fromarray(image_HW, "P")
    picture.putpalette([0, 0, 0, 200, 200, 200])
    assert read(saved(picture)).image_HW.unique().tolist() == [0, 200]
    found = read(saved(picture, transparency=0), invert=False)
    assert found.image_HW.unique().tolist() == [200, 255] and not found.was_colour
    clear = Image.fromarray(np.full((28, 28, 2), [7, 0], np.uint8), "LA")
    assert read(saved(clear), invert=False).image_HW.unique().tolist() == [255]


def test_sixteen_bits_become_eight() -> None:
    deep_HW = stroke().numpy().astype(np.uint16) * 257
    assert torch.equal(read(saved(Image.fromarray(deep_HW))).image_HW, stroke())


def test_a_picture_is_turned_as_its_camera_says() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    turned = read(encoded(stroke(), exif=exif)).image_HW
    assert torch.equal(turned, stroke().rot90(-1))


def test_another_size_is_smoothed_and_keeps_its_form() -> None:
    large = read(encoded(stroke().repeat_interleave(10, 0).repeat_interleave(10, 1)))
    assert large.was_resized and large.image_HW.shape == (28, 28)
    assert (large.image_HW.float() - stroke().float()).abs().max() < 80, "only the edges differ"
    tall = torch.zeros(56, 28, dtype=torch.uint8)
    tall[:, 10:18] = 255
    fitted = read(encoded(tall)).image_HW
    width = int((fitted[14] > 127).sum())
    assert width == 4, "half the width, since the height was halved"
    tall_on_white = read(encoded(255 - tall)).image_HW
    assert not tall_on_white[:, 0].any(), "what is added has the colour of the ground"


def test_a_jpeg_is_read_too() -> None:
    data = encoded(stroke(), "JPEG", quality=95)
    assert (read(data).image_HW.float() - stroke().float()).abs().mean() < 4


@pytest.mark.parametrize("data", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0rest"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(DataError, match=r"x\.png is (no PNG or JPEG file|damaged)"):
        read(data)


@given(st.binary(min_size=1, max_size=4), st.integers(0, 5000), st.booleans())
def test_a_damaged_picture_is_read_or_refused(change: bytes, at: int, is_jpeg: bool) -> None:
    image = torch.arange(784).reshape(28, 28).byte()
    data = encoded(image, "JPEG" if is_jpeg else "PNG")
    at %= len(data)
    with contextlib.suppress(DataError):
        read(data[:at] + change + data[at + len(change) :])


def test_half_a_picture_is_refused() -> None:
    data = encoded(torch.randint(0, 255, (64, 64)).byte())
    with pytest.raises(DataError, match="damaged"):
        read(data[: len(data) // 2])


@pytest.mark.parametrize("side", [2**13 + 1, 60_000])
def test_a_picture_that_would_fill_the_memory_is_refused_before_it_is_unpacked(side: int) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        length, check = len(content), zlib.crc32(name + content)
        return struct.pack(">I", length) + name + content + struct.pack(">I", check)

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    with pytest.raises(DataError, match=f"more than {MAX_PIXELS:,} pixels"):
        read(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    jpeg = bytearray(encoded(stroke(), "JPEG"))
    at = jpeg.index(b"\xff\xc0") + 5  # behind the marker, the length and the bits of a sample
    jpeg[at : at + 4] = struct.pack(">HH", side, side)
    with pytest.raises(DataError, match="more than"):
        read(bytes(jpeg))
