"""Some rows of a shard's file, which are read from their row groups alone."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.datasets.tables.prepare import prepare_tables
from tests.unit.datasets.idx_files import write_idx_files
from workers.data.kinds import SPLITS
from workers.errors import DataError
from workers.shards import shard_file
from workers.shards.shard_file import group_rows
from workers.shards.shard_files import ShardFiles
from workers.storage.storage import Storage


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Two shards with row groups of 1,024 and fewer rows."""
    folder = tmp_path_factory.mktemp("images")
    write_idx_files(folder / "idx", 5000, 30)
    return prepare("mnist", folder / "idx", num_shards=2, cache=folder / "cache")


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Rows of any length, some of which are so long that a row group holds only a few."""
    folder = tmp_path_factory.mktemp("tables")
    drawn = np.random.default_rng(0)
    lengths = drawn.integers(1, 9000, 300)
    rows = {"x": [drawn.random(n) for n in lengths], "y": [n % 3 for n in lengths]}
    import pyarrow as pa

    pq.write_table(pa.table(rows), folder / "rows.parquet")
    options = TableOptions(target="y", task="classification")
    name = f"parquet:{folder / 'rows.parquet'}"
    return prepare_tables(name, options, False, num_shards=2, cache=folder / "cache")


def sent(files: ShardFiles, data: PreparedData) -> ShardFiles:
    """Return what a worker in another process makes of it."""
    return ShardFiles.from_json(json.loads(json.dumps(files.to_json())), data.shape)


@pytest.mark.parametrize("kind", ["images", "tables"])
@given(data=st.data())
def test_any_spans_are_the_rows_of_the_whole_shard(
    kind: str, data: st.DataObject, request: pytest.FixtureRequest
) -> None:
    prepared: PreparedData = request.getfixturevalue(kind)
    shard, split = data.draw(st.integers(0, 1)), data.draw(st.sampled_from(SPLITS))
    files = sent(prepared.shard(shard), prepared)
    whole = files.load()[split]
    if not len(whole):
        return
    edges = sorted(data.draw(st.sets(st.integers(0, len(whole)), min_size=2, max_size=6)))
    spans = [range(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False)]
    found = files.read(split, spans)
    wanted = whole.take(torch.tensor([row for span in spans for row in span]))
    assert all(map(torch.equal, found.tensors, wanted.tensors))


@pytest.mark.parametrize("kind", ["images", "tables"])
def test_all_rows_are_decoded_a_few_row_groups_at_once(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pyarrow takes several times the memory of the numbers while it decodes them."""
    prepared: PreparedData = request.getfixturevalue(kind)
    files = prepared.shard(0)
    wanted, table = files.load()["train"], files.table("train")
    seen: list[int] = []
    read = pq.ParquetFile.read_row_groups

    def spy(file: pq.ParquetFile, groups: list[int]) -> object:
        seen.append(len(groups))
        return read(file, groups)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", spy)
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    monkeypatch.setattr(shard_file, "_GROUPS_OF_PART", 2)
    found = files.load()["train"]
    assert max(seen) == 2 and len(seen) > 3
    assert all(map(torch.equal, found.tensors, wanted.tensors))
    assert files.table("train").equals(table)


def test_row_groups_have_the_size_of_blocks(images: PreparedData, tables: PreparedData) -> None:
    def sizes(data: PreparedData) -> list[int]:
        path = Path(data.folder.where(data.shards["train"][0]["file"]))
        metadata = pq.ParquetFile(path).metadata
        return [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]

    assert sizes(images) == [1024, 1024, 244]
    found = sizes(tables)
    assert set(found[:-1]) == {found[0]} and found[0] in (16, 32, 64)


@given(st.floats(0, 1e12))
def test_a_row_group_is_a_power_of_two_and_of_about_a_mebibyte(bytes_per_row: float) -> None:
    rows = group_rows(bytes_per_row)
    assert 1 <= rows <= 1024 and 1024 % rows == 0
    assert rows == 1 or rows * bytes_per_row <= 2**20


def damaged(data: PreparedData, place: float, to: Path) -> ShardFiles:
    """Return a shard of which one byte was changed, at a share of its size."""
    for file in Path(data.folder.where()).iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    path = to / data.shards["train"][0]["file"]
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)
    return open_prepared(Storage(str(to))).shard(0)


def test_a_changed_page_is_found_when_its_rows_are_read(
    images: PreparedData, tmp_path: Path
) -> None:
    files = damaged(images, 0.2, tmp_path)
    with pytest.raises(DataError, match="does not match its manifest") as caught:
        files.read("train", [range(0, 1024)])
    assert caught.value.cure.startswith("cut the data set again: ")
    assert len(files.read("train", [range(2048, 2292)])) == 244


def test_a_changed_footer_is_found_before_rows_are_read(
    images: PreparedData, tmp_path: Path
) -> None:
    files = damaged(images, 0.999, tmp_path)
    with pytest.raises(DataError, match="the SHA-256 of its footer is"):
        files.read("test", [range(0, 1)]) and files.read("train", [range(0, 1)])


def test_a_missing_file_is_named(images: PreparedData, tmp_path: Path) -> None:
    files = damaged(images, 0.2, tmp_path)
    (tmp_path / "test-00000-of-00002.parquet").unlink()
    with pytest.raises(DataError, match=r"the shard .*test-00000-of-00002.parquet is missing"):
        files.read("test", [range(0, 1)])


def test_files_of_an_earlier_version_are_held_but_not_streamed(images: PreparedData) -> None:
    content = images.shard(0).to_json()
    for entry in content["entries"].values():
        del entry["footer_sha256"]
    files = ShardFiles.from_json(content, images.shape)
    assert len(files.load()["train"]) == 2292
    with pytest.raises(DataError, match="an earlier version cut it into parts too large"):
        files.read("train", [range(0, 1)])
