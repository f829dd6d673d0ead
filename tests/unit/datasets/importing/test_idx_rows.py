"""idx files to sequences: each row of an image is a time step."""

from pathlib import Path

import numpy as np
import pytest

from orchestrator.datasets.importing import idx_rows
from tests.unit.datasets.idx_files import NAMES, idx_bytes, write_idx_files
from tests.unit.datasets.importing.files import written
from workers.errors import DataError


@pytest.mark.parametrize("part_bytes", [1, 2**24])
@pytest.mark.parametrize("zipped", [False, True])
def test_images_and_labels_become_sequences_with_a_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zipped: bool, part_bytes: int
) -> None:
    monkeypatch.setattr(idx_rows, "_PART_BYTES", part_bytes)
    images, labels, *_ = write_idx_files(tmp_path, zipped=zipped)
    paths = [tmp_path / (name + ".gz" * zipped) for name in NAMES[:2]]
    rows = written(idx_rows.read_idx_files(*paths), tmp_path)
    assert [row["inputs"] for row in rows] == images.tolist()
    assert [row["target"] for row in rows] == labels.tolist()


def test_numbers_in_two_dimensions_are_sequences_of_numbers(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    (tmp_path / "x").write_bytes(idx_bytes(values))
    rows = written(idx_rows.read_idx_files(tmp_path / "x", None), tmp_path)
    assert rows == [{"inputs": row} for row in values.tolist()]


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    images, labels = tmp_path / NAMES[0], tmp_path / NAMES[3]
    with pytest.raises(DataError, match=r"holds 61 sequences, but .* 17 labels"):
        idx_rows.read_idx_files(images, labels)
    with pytest.raises(DataError, match=r"not 0x00000802 or 0x00000803: .* in 2 or 3 dimensions"):
        idx_rows.read_idx_files(labels, None)


def test_a_truncated_file_leaves_nothing_behind(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    path = tmp_path / NAMES[0]
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match="is truncated: 743 of the 748 bytes"):
        written(idx_rows.read_idx_files(path, None), tmp_path)
    assert not list(tmp_path.glob("*.parquet")) and not list(tmp_path.glob(".*"))
