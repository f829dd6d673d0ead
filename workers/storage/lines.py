"""Read a file in lines, with a limit for each line."""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

MAX_LINE_BYTES = 2**18
"""A longer line is cut. Our records take hundreds of bytes."""
_CHUNK_BYTES = 2**22
"""On a remote storage, each chunk is a request."""


class Line(NamedTuple):
    """A line without its end."""

    data: bytes
    end: int
    """The position in the file behind the line."""
    is_whole: bool
    """Whether the line was ended. The last line of a file may still be written."""


def split(file: BinaryIO, start: int, size: int) -> Iterator[Line]:
    """Return the lines of a file from the position `start` up to `size`."""
    file.seek(start)
    begun = bytearray()
    position = start
    while chunk := file.read(min(_CHUNK_BYTES, max(0, size - position))):
        after = 0
        while (end := chunk.find(b"\n", after)) >= 0:
            _extend(begun, chunk, after, end)
            after = end + 1
            yield Line(bytes(begun), position + after, True)
            begun.clear()
        _extend(begun, chunk, after, len(chunk))
        position += len(chunk)
    if begun:
        yield Line(bytes(begun), position, False)


def _extend(begun: bytearray, chunk: bytes, start: int, end: int) -> None:
    begun += chunk[start : min(end, start + MAX_LINE_BYTES - len(begun))]
