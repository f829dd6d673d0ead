"""Reading idx files, undamaged and damaged."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.datasets.idx import read_idx, read_split
from tests.unit.datasets.idx_files import idx_bytes, random_split
from workers.errors import DataError

CURE = "replace the file with a complete copy, or name another folder: --data-dir"


def refusal(path: Path, data: bytes, dimensions: int = 3) -> str:
    """Return the cause of the error that a file with these bytes raises."""
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_idx(path, dimensions)
    assert caught.value.cure == CURE
    assert str(path) in caught.value.cause
    return caught.value.cause


@pytest.mark.parametrize("zipped", [False, True])
def test_an_undamaged_file_is_read_plain_or_zipped(tmp_path: Path, zipped: bool) -> None:
    images, labels = random_split(5)
    for array in (images, labels):
        data = idx_bytes(array)
        (tmp_path / "x").write_bytes(gzip.compress(data) if zipped else data)
        found = read_idx(tmp_path / "x", array.ndim)
        assert found.dtype == np.uint8
        assert np.array_equal(found, array)


def test_a_wrong_magic_number_is_reported_with_the_right_one(tmp_path: Path) -> None:
    images, labels = random_split(5)
    cause = refusal(tmp_path / "x", idx_bytes(labels))
    assert "has the magic number 0x00000801, not 0x00000803" in cause
    cause = refusal(tmp_path / "x", idx_bytes(images), 1)
    assert "has the magic number 0x00000803, not 0x00000801" in cause
    assert "magic number 0x3c68746d, not" in refusal(tmp_path / "x", b"<html>not found</html>")
    assert "magic number 0x, not" in refusal(tmp_path / "x", b"")


def test_a_truncated_file_is_reported_with_both_sizes(tmp_path: Path) -> None:
    data = idx_bytes(random_split(100)[0])
    cause = refusal(tmp_path / "x", data[:-1])
    assert cause.endswith("is truncated: 1,215 of the 1,216 bytes that its header promises")
    cause = refusal(tmp_path / "x", data[:9])
    assert cause.endswith("is truncated: it has 9 bytes, but its header alone has 16")


def test_a_file_that_is_too_long_is_reported_with_its_right_size(tmp_path: Path) -> None:
    data = idx_bytes(random_split(100)[0])
    cause = refusal(tmp_path / "x", data + b"ab")
    assert cause.endswith("is too long: it has more than the 1,216 bytes that its header promises")


@pytest.mark.parametrize("keep", [3, 15, 60, -1, -8])
def test_a_truncated_gzip_file_is_truncated_or_damaged(tmp_path: Path, keep: int) -> None:
    data = gzip.compress(idx_bytes(random_split(100)[0]))
    assert "is truncated or damaged: " in refusal(tmp_path / "x", data[:keep])


def test_a_changed_byte_in_a_gzip_file_is_noticed(tmp_path: Path) -> None:
    data = bytearray(gzip.compress(idx_bytes(random_split(100)[0])))
    data[len(data) // 2] ^= 0x55
    assert "is truncated or damaged: " in refusal(tmp_path / "x", bytes(data))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*/none: No such file or directory"):
        read_idx(tmp_path / "none", 1)


@given(data=st.binary(max_size=40), dimensions=st.sampled_from([1, 3]))
def test_any_bytes_are_an_array_or_a_data_error(
    tmp_path: Path, data: bytes, dimensions: int
) -> None:
    path = tmp_path / "x"
    for content in (data, bytes([0, 0, 8, dimensions]) + data, b"\x1f\x8b" + data):
        path.write_bytes(content)
        try:
            found = read_idx(path, dimensions)
        except DataError as error:
            assert error.cure == CURE
        else:
            assert idx_bytes(found) == content


@pytest.mark.parametrize("shape", [(2**31, 2**31, 4), (2**32 - 1, 2**32 - 1, 2**32 - 1)])
def test_a_header_that_promises_more_than_64_bits_hold_is_a_truncated_file(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    data = bytes([0, 0, 8, 3]) + struct.pack(">3I", *shape)
    wanted = 16 + shape[0] * shape[1] * shape[2]
    cause = refusal(tmp_path / "x", data)
    assert cause.endswith(f"is truncated: 16 of the {wanted:,} bytes that its header promises")


def test_different_numbers_of_images_and_labels_are_both_reported(
    tmp_path: Path,
) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(random_split(5)[0]))
    (tmp_path / "labels").write_bytes(idx_bytes(random_split(4)[1]))
    with pytest.raises(DataError) as caught:
        read_split(tmp_path / "images", tmp_path / "labels")
    assert caught.value.cause.endswith("images holds 5 images, but labels 4 labels")
    assert caught.value.cure == "take both files from the same data set"


def test_a_file_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(idx_bytes(np.zeros((0, 4, 3), np.uint8)))
    (tmp_path / "labels").write_bytes(idx_bytes(np.zeros(0, np.uint8)))
    with pytest.raises(DataError, match="images holds no images"):
        read_split(tmp_path / "images", tmp_path / "labels")
