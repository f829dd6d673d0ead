"""Write small PNGs. torchvision's encoder would load torch to write 500 bytes."""

import math
import struct
import zlib
from collections.abc import Sequence

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY, _WITH_ALPHA = (8, 0, 0, 0, 0), (8, 6, 0, 0, 0)
"""A byte for each pixel, or four: red, green, blue and how opaque it is."""
POSITIVE, NEGATIVE = (47, 105, 240), (226, 106, 16)
"""Blue and orange, which can be told apart by all, on white and on black."""


def grey_png(pixels: bytes, width: int) -> bytes:
    """Return the file of an image with one byte for a pixel, row by row."""
    lines = [pixels[at : at + width] for at in range(0, len(pixels), width)]
    return _png(lines, width, _GREY)


def signed_png(rows: Sequence[Sequence[float]], largest: float) -> bytes:
    """Return the file of an image of numbers: blue above zero, orange below it, else transparent.

    `largest`: the size of a number whose pixel is opaque.
    """
    lines = [b"".join(_pixel(value / largest) for value in row) for row in rows]
    return _png(lines, len(rows[0]), _WITH_ALPHA)


def _pixel(share: float) -> bytes:
    size = min(1.0, abs(share)) if math.isfinite(share) else 0.0
    return bytes((*(POSITIVE if share > 0 else NEGATIVE), round(255 * size)))


def _png(lines: Sequence[bytes], width: int, form: tuple[int, ...]) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(lines), *form)
    content = zlib.compress(b"".join(b"\0" + line for line in lines), 9)
    return b"".join(
        [_SIGNATURE, _chunk(b"IHDR", header), _chunk(b"IDAT", content), _chunk(b"IEND", b"")]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
