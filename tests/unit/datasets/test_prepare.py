"""Cutting a data set into Parquet shards, once, and opening them again."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from tests.conftest import ENOUGH_S
from tests.unit.datasets.idx_files import idx_bytes, random_split, write_idx_files
from workers.config import SPLITS
from workers.data.rows import Rows
from workers.data.tables import rows_from_table
from workers.errors import DataError, InputError
from workers.storage.storage import Storage


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    write_idx_files(tmp_path / "data")
    return tmp_path / "data"


def folder_of(data: PreparedData) -> Path:
    path = data.folder.local_path
    assert path is not None
    return path


def rows_of(data: PreparedData, split: str, shard: int) -> Rows:
    return rows_from_table(data.table(split, shard), data.shape)


def test_every_row_is_in_exactly_one_shard_dealt_out_like_cards(data_dir: Path) -> None:
    data = prepare("mnist", data_dir, num_shards=4, validation_rows=7)
    images, labels, test_images, test_labels = write_idx_files(data_dir)
    wanted = {
        "train": (images[7:], labels[7:]),
        "validation": (images[:7], labels[:7]),
        "test": (test_images, test_labels),
    }
    for split, (split_images, split_labels) in wanted.items():
        for shard in range(4):
            rows = rows_of(data, split, shard)
            assert np.array_equal(rows.inputs.numpy(), split_images[shard::4])
            assert rows.targets_N.tolist() == split_labels[shard::4].tolist()
    shape = data.shape
    assert (shape.train_rows, shape.validation_rows, shape.test_rows) == (54, 7, 17)
    assert (shape.input.height, shape.input.width) == (4, 3)
    assert (shape.target.num_outputs, shape.num_shards) == (10, 4)


@pytest.mark.parametrize(("asked", "held"), [("auto", 61 // 12), (0, 0), (1, 1), (53, 53)])
def test_the_first_rows_are_held_out(data_dir: Path, asked: int | str, held: int) -> None:
    data = prepare("mnist", data_dir, validation_rows=asked)
    numbers = sorted(
        int(image[0, 0])
        for shard in range(8)
        for image in rows_of(data, "validation", shard).inputs
    )
    assert numbers == list(range(held))
    assert data.shape.validation_rows == held
    assert data.shape.train_rows == 61 - held


def test_pixels_are_standardized_over_the_training_rows(data_dir: Path) -> None:
    images = write_idx_files(data_dir)[0][5:] / 255
    shape = prepare("mnist", data_dir).shape
    assert shape.input.mean == pytest.approx(images.mean(), rel=1e-12)
    assert shape.input.std == pytest.approx(images.std(), rel=1e-9)
    plain = prepare("mnist", data_dir, standardize=False).shape
    assert (plain.input.mean, plain.input.std) == (0.0, 1.0)


def test_images_of_one_colour_do_not_divide_by_zero(tmp_path: Path) -> None:
    write_idx_files(tmp_path)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((61, 4, 3), np.uint8)))
    assert prepare("mnist", tmp_path).shape.input.std == 1.0


def test_prepared_data_is_used_again_until_it_is_forced(data_dir: Path) -> None:
    first = prepare("mnist", data_dir)
    before = {path: path.stat().st_ino for path in folder_of(first).iterdir()}
    again = prepare("mnist", data_dir)
    assert again == first
    assert {path: path.stat().st_ino for path in folder_of(again).iterdir()} == before
    forced = prepare("mnist", data_dir, force=True)
    assert forced.shape == first.shape
    assert forced.shards == first.shards
    manifest = folder_of(first) / "manifest.json"
    assert manifest.stat().st_ino != before[manifest]


def test_a_changed_source_or_way_of_cutting_is_another_cut(data_dir: Path) -> None:
    first = prepare("mnist", data_dir)
    shards = prepare("mnist", data_dir, num_shards=4)
    held = prepare("mnist", data_dir, validation_rows=9)
    write_idx_files(data_dir, seed=7)
    changed = prepare("mnist", data_dir)
    every = [first, shards, held, changed]
    assert len({folder_of(data) for data in every}) == 4
    assert len({data.shape.fingerprint for data in every}) == 4
    for data in every:
        data.verify()


def test_the_fingerprint_depends_on_the_rows_and_not_on_their_files(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "plain")
    write_idx_files(tmp_path / "zipped", zipped=True)
    plain = prepare("mnist", tmp_path / "plain")
    zipped = prepare("mnist", tmp_path / "zipped", cache=tmp_path / "elsewhere")
    assert plain.shape.fingerprint == zipped.shape.fingerprint


@pytest.mark.parametrize("harm", ["flipped", "truncated", "missing"])
@pytest.mark.parametrize("split", SPLITS)
def test_a_damaged_shard_is_named_with_the_command_that_cuts_it_again(
    data_dir: Path, harm: str, split: str
) -> None:
    data = prepare("mnist", data_dir, num_shards=4)
    path = folder_of(data) / f"{split}-00002-of-00004.parquet"
    content = bytearray(path.read_bytes())
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(content[:-4])
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    opened = prepare("mnist", data_dir, num_shards=4)
    for check in (opened.verify, lambda: opened.table(split, 2)):
        with pytest.raises(DataError) as caught:
            check()
        assert str(path) in caught.value.cause
        words = f"--dataset mnist --num-shards 4 --validation-rows auto --data-dir {data_dir}"
        assert f"rnnjob data prepare {words} --force" in caught.value.cure
    prepare("mnist", data_dir, num_shards=4, force=True).verify()


@pytest.mark.parametrize(
    "manifest",
    ["{", "[]", "{}", "null", '{"shape": {}, "shards": {}}', '{"shape": 3}', "[" * 100_000],
    ids=["torn", "list", "empty", "null", "no shape", "number", "deep"],
)
def test_a_damaged_manifest_is_a_data_error_that_names_the_folder(
    data_dir: Path, manifest: str
) -> None:
    data = prepare("mnist", data_dir)
    (folder_of(data) / "manifest.json").write_text(manifest)
    with pytest.raises(DataError) as caught:
        prepare("mnist", data_dir)
    assert f"the manifest of {folder_of(data)} is damaged" in caught.value.cause
    assert str(folder_of(data)) in caught.value.cure
    prepare("mnist", data_dir, force=True).verify()


@pytest.mark.parametrize("harm", ["shards cut short", "no file name"])
def test_a_manifest_that_lacks_a_shard_is_a_data_error(data_dir: Path, harm: str) -> None:
    data = prepare("mnist", data_dir, num_shards=4)
    path = folder_of(data) / "manifest.json"
    manifest = json.loads(path.read_text())
    if harm == "no file name":
        del manifest["shards"]["test"][3]["file"]
    else:
        del manifest["shards"]["test"][3]
    path.write_text(json.dumps(manifest))
    with pytest.raises(DataError):
        prepare("mnist", data_dir, num_shards=4).verify()


def test_a_cut_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "data")
    labels = random_split(61)[1]
    labels[3] = 10
    (tmp_path / "data" / "train-labels-idx1-ubyte").write_bytes(idx_bytes(labels))
    with pytest.raises(DataError, match="mnist has a label 10, above 9"):
        prepare("mnist", tmp_path / "data", cache=tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_splits_of_different_image_sizes_are_refused(data_dir: Path) -> None:
    (data_dir / "t10k-images-idx3-ubyte").write_bytes(idx_bytes(np.zeros((17, 4, 4), np.uint8)))
    with pytest.raises(DataError, match=r"training images of \(4, 3\) .* test images of \(4, 4\)"):
        prepare("mnist", data_dir)


@pytest.mark.parametrize("held", [61, 62, 5000])
def test_more_rows_held_out_than_there_are_is_refused_with_both_numbers(
    data_dir: Path, held: int
) -> None:
    with pytest.raises(InputError) as caught:
        prepare("mnist", data_dir, validation_rows=held)
    assert caught.value.cause == f"validation_rows {held} leaves nothing of 61 training rows"


def test_more_shards_than_training_rows_are_refused(data_dir: Path) -> None:
    with pytest.raises(InputError, match="56 training rows do not fill 57 shards"):
        prepare("mnist", data_dir, num_shards=57)


def test_more_head_rows_than_test_rows_are_refused(data_dir: Path) -> None:
    with pytest.raises(InputError, match="test_head_rows is 18, but the test split has 17 rows"):
        prepare("mnist", data_dir, test_head_rows=18)
    assert prepare("mnist", data_dir, test_head_rows=17).shape.test_head_rows == 17


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, data_dir: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError) as caught:
        prepare("mnist", data_dir, cache=tmp_path / "file")
    assert f"cannot write the prepared data set below {tmp_path / 'file'}" in caught.value.cause
    assert "RNNJOB_CACHE_DIR" in caught.value.cure


def test_the_cache_is_where_the_environment_says(
    tmp_path: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RNNJOB_CACHE_DIR", str(tmp_path / "mine"))
    assert folder_of(prepare("mnist", data_dir)).parent == tmp_path / "mine" / "prepared"
    monkeypatch.delenv("RNNJOB_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert folder_of(prepare("mnist", data_dir)).parent == tmp_path / "xdg" / "rnnjob" / "prepared"
    assert [p.name for p in (tmp_path / "xdg" / "rnnjob").iterdir()] == ["prepared"]


def test_a_table_of_another_form_is_refused_with_both_forms(data_dir: Path) -> None:
    data = prepare("mnist", data_dir)
    taller = data.shape.input.model_copy(update={"height": 5})
    other = data.shape.model_copy(update={"input": taller})
    with pytest.raises(DataError, match=r"'image' of mnist is fixed_size_list.*, not .*\[15\]"):
        rows_from_table(data.table("train", 0), other)


def test_a_published_copy_is_opened_like_the_cut_and_written_once(
    data_dir: Path, tmp_path: Path
) -> None:
    data = prepare("mnist", data_dir, num_shards=4)
    uri = data.publish(Storage(str(tmp_path / "runs")))
    copy = open_prepared(Storage(uri))
    copy.verify()
    assert copy.shape == data.shape
    assert folder_of(copy).parent == tmp_path / "runs" / ".data"
    before = (folder_of(copy) / "manifest.json").stat().st_mtime_ns
    assert data.publish(Storage(str(tmp_path / "runs"))) == uri
    assert (folder_of(copy) / "manifest.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_all_who_cut_at_the_same_moment_get_a_complete_cut(data_dir: Path, tmp_path: Path) -> None:
    """No process removes a cut that another one made and a third one reads."""
    for number in range(5):
        cache, together = tmp_path / str(number), threading.Barrier(8)

        def cut(_: int, cache: Path = cache, together: threading.Barrier = together) -> str:
            together.wait(ENOUGH_S)
            data = prepare("mnist", data_dir, 4, cache=cache)
            for _ in range(20):
                data.verify()
            return data.shape.fingerprint

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(cut, range(8)))) == 1
        assert len(list((cache / "prepared").iterdir())) == 1, "a scratch folder was left"
