"""Finding the source of a data set."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from orchestrator.datasets.sources import NAMES, find_source
from tests.unit.datasets.idx_files import NAMES as FILES
from tests.unit.datasets.idx_files import write_idx_files
from workers.errors import DataError


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist"])
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_are_read_from_the_folder(tmp_path: Path, name: str, zipped: bool) -> None:
    arrays = write_idx_files(tmp_path / "data", zipped=zipped)
    train, test = find_source(name, tmp_path / "data", tmp_path / "cache").read()
    found = (train.images, train.labels, test.images, test.labels)
    assert all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True))


@pytest.mark.parametrize("place", ["kmnist", "KMNIST/raw"])
def test_the_data_sets_own_folder_wins(tmp_path: Path, place: str) -> None:
    write_idx_files(tmp_path, seed=5)
    _, labels, _, _ = write_idx_files(tmp_path / place, seed=9)
    train, _ = find_source("kmnist", tmp_path, tmp_path / "cache").read()
    assert np.array_equal(train.labels, labels)


def test_names_with_a_dot_before_idx_are_found(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    for name in FILES:
        (tmp_path / name).rename(tmp_path / name.replace("-idx", ".idx"))
    assert len(find_source("mnist", tmp_path, tmp_path / "cache").read()[0].labels) == 61


def test_missing_files_are_named_and_the_others_are_not(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    (tmp_path / FILES[0]).unlink()
    (tmp_path / FILES[3]).unlink()
    with pytest.raises(DataError) as caught:
        find_source("mnist", tmp_path, tmp_path / "cache")
    assert caught.value.cause == (
        f"{tmp_path} lacks train-images-idx3-ubyte, t10k-labels-idx1-ubyte (plain or .gz)"
    )
    assert "put the four idx files of mnist there" in caught.value.cure
    assert "--dataset mnist-sample" in caught.value.cure


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_source("mnist", tmp_path / "none", tmp_path)
    assert caught.value.cause == f"the data folder {tmp_path / 'none'} does not exist"
    assert "RNNJOB_DATA_DIR" in caught.value.cure


def test_an_unknown_data_set_is_refused_with_all_names(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        find_source("mnits", None, tmp_path)
    assert caught.value.cause == "no data set 'mnits'"
    assert all(name in caught.value.cure for name in NAMES)


def test_files_in_the_cache_are_not_downloaded_again(tmp_path: Path) -> None:
    _, labels, _, _ = write_idx_files(tmp_path / "MNIST" / "raw")
    train, _ = find_source("mnist", None, tmp_path).read()
    assert np.array_equal(train.labels, labels)


def test_the_digest_of_a_source_depends_on_its_bytes(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "a", seed=1)
    write_idx_files(tmp_path / "b", seed=1)
    write_idx_files(tmp_path / "c", seed=2)
    a, b, c = (find_source("mnist", tmp_path / name, tmp_path).digest for name in "abc")
    assert a == b != c


def test_the_sample_has_4000_training_and_1000_test_rows_and_equal_classes(tmp_path: Path) -> None:
    train, test = find_source("mnist-sample", None, tmp_path).read()
    assert train.images.shape == (4000, 28, 28)
    assert test.images.shape == (1000, 28, 28)
    assert Counter(train.labels.tolist()) == dict.fromkeys(range(10), 400)
    assert Counter(test.labels.tolist()) == dict.fromkeys(range(10), 100)
    assert train.images.max() == 255


def test_no_digit_of_the_sample_is_in_both_splits(tmp_path: Path) -> None:
    train, test = find_source("mnist-sample", None, tmp_path).read()
    seen = {image.tobytes() for image in train.images}
    assert not [1 for image in test.images if image.tobytes() in seen]


def test_the_samples_held_out_rows_hold_every_class(tmp_path: Path) -> None:
    """Validation takes the first rows. In a file sorted by label, all would be of one class."""
    train, _ = find_source("mnist-sample", None, tmp_path).read()
    held = Counter(train.labels[: 4000 // 12].tolist())
    assert len(held) == 10
    assert min(held.values()) >= 15


@pytest.mark.parametrize("data_dir", ["share/datasets/fashion-mnist", "share/datasets", None])
def test_the_folder_of_debians_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_dir: str | None
) -> None:
    """dataset-fashion-mnist installs /usr/share/datasets/fashion-mnist/*.gz."""
    arrays = write_idx_files(tmp_path / "share/datasets/fashion-mnist", zipped=True)
    monkeypatch.setenv("XDG_DATA_DIRS", f"{tmp_path / 'none'}:{tmp_path / 'share'}")
    folder = tmp_path / data_dir if data_dir else None
    train, test = find_source("fashion-mnist", folder, tmp_path / "cache").read()
    found = (train.images, train.labels, test.images, test.labels)
    assert all(np.array_equal(a, b) for a, b in zip(found, arrays, strict=True))


def test_what_was_downloaded_before_wins_over_what_the_system_has_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a package that is installed later changes no result."""
    write_idx_files(tmp_path / "share/datasets/fashion-mnist", seed=5)
    _, labels, _, _ = write_idx_files(tmp_path / "cache/FashionMNIST/raw", seed=9)
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    train, _ = find_source("fashion-mnist", None, tmp_path / "cache").read()
    assert np.array_equal(train.labels, labels)
