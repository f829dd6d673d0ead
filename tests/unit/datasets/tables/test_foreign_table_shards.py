"""Cut tables from a storage are read within the limits that their manifest sets, or refused."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.datasets.prepared import open_prepared
from tests.unit.datasets.tables.made import cut, rows, write
from tests.unit.hostile import ODD, changed
from workers.data.kinds import SPLITS
from workers.data.tables import rows_from_table
from workers.errors import DataError, JobError
from workers.shards.shard_file import ShardSize, footer_sha256, max_bytes
from workers.storage.storage import Storage

SHARD = "train-00000-of-00001.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cut of vectors with 1 to 5 time steps, and 6 training rows."""
    return folder_of(cut(write(tmp_path / "a.parquet", rows())))


def folder_of(data: Any) -> Path:
    assert data.folder.local_path
    return Path(data.folder.local_path)


def manifest_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "manifest.json").read_text())


def read_all(folder: Path) -> None:
    data = open_prepared(Storage(str(folder)))
    data.verify()
    assert all(data.num_bytes(split) >= 0 for split in SPLITS)
    for split in SPLITS:
        for shard in range(data.shape.num_shards):
            rows_from_table(data.table(split, shard), data.shape)


def put_shard(folder: Path, table: pa.Table, **entry: Any) -> None:
    file = io.BytesIO()
    pq.write_table(table, file)
    (folder / SHARD).write_bytes(file.getvalue())
    manifest = manifest_of(folder)
    manifest["shards"]["train"][0] |= {
        "sha256": hashlib.sha256(file.getvalue()).hexdigest(),
        "footer_sha256": footer_sha256(file), **entry
    }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))


def values(lists: Any, targets: Any = (0, 1, 0, 1, 0, 1)) -> pa.Table:
    columns = {"values": pa.array(lists, pa.list_(pa.float32()))}
    return pa.table({**columns, "target": pa.array(targets, pa.int32())})


BAD: dict[str, tuple[Callable[[], pa.Table], dict[str, Any]]] = {
    "more steps than listed": (lambda: values([[1.0, 2.0] * 5] * 6), {"steps": 6}),
    "fewer steps than listed": (lambda: values([[1.0, 2.0]] * 6), {"steps": 12}),
    "half a time step": (lambda: values([[1.0]] * 3 + [[1.0, 2.0, 3.0]] * 3), {"steps": 6}),
    "empty sequences": (lambda: values([[], [1.0, 2.0]] * 3), {"steps": 6}),
    "too long": (lambda: values([[1.0, 2.0] * 6] + [[1.0, 2.0]] * 5), {"steps": 11}),
    "NaN": (lambda: values([[1.0, float("nan")]] * 6), {"steps": 6}),
    "infinity": (lambda: values([[1.0, float("inf")]] * 6), {"steps": 6}),
    "null": (lambda: values([[1.0, None]] * 6), {"steps": 6}),
    "a null sequence": (lambda: values([[1.0, 2.0]] * 5 + [None]), {"steps": 6}),
    "a null target": (lambda: values([[1.0, 2.0]] * 6, [None] * 6), {"steps": 6}),
    "a class too high": (lambda: values([[1.0, 2.0]] * 6, [2] * 6), {"steps": 6}),
    "a negative class": (lambda: values([[1.0, 2.0]] * 6, [-1] * 6), {"steps": 6}),
    "another type": (lambda: pa.table({"values": [[1.0]], "target": [1]}), {}),
    "millions of steps": (lambda: values([[0.0, 0.0] * 2**20] * 6), {"steps": 6 * 5}),
}


@pytest.mark.parametrize("name", BAD)
def test_a_shard_that_its_manifest_excludes_is_refused(folder: Path, name: str) -> None:
    table, entry = BAD[name]
    put_shard(folder, table(), **entry)
    with pytest.raises(DataError) as caught:
        read_all(folder)
    assert "train-00000" in caught.value.cause or "manifest" in caught.value.cause


def test_a_good_shard_is_read(folder: Path) -> None:
    put_shard(folder, values([[1.0, 2.0]] * 6), steps=6)
    read_all(folder)


@given(changed({"file": SHARD, "rows": 6, "steps": 18, "sha256": "0" * 64}))
def test_an_odd_entry_is_refused(folder: Path, entry: bytes) -> None:
    manifest = manifest_of(folder)
    manifest["shards"]["train"][0] = json.loads(entry)
    original = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError):
        read_all(folder)
    (folder / "manifest.json").write_text(original)


KEYS = {
    "input": "kind columns num_features min_length max_length mean std missing limit truncate",
    "target": "kind column names values train_counts",
    "origin": "uri digest num_files splits notes",
}
PLACES = st.sampled_from([(part, key) for part, keys in KEYS.items() for key in keys.split()])


@given(PLACES, ODD)
@settings(max_examples=60)
def test_an_odd_manifest_is_opened_or_refused(
    folder: Path, place: tuple[str, str], value: Any
) -> None:
    original = (folder / "manifest.json").read_text()
    manifest = json.loads(original)
    section = manifest["origin"] if place[0] == "origin" else manifest["shape"][place[0]]
    section[place[1]] = value
    (folder / "manifest.json").write_text(json.dumps(manifest))
    try:
        read_all(folder)
    except JobError as error:
        assert error.cause and error.cure
    finally:
        (folder / "manifest.json").write_text(original)


@given(
    st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.booleans(), st.sampled_from([1, 3])
)
@settings(max_examples=25)
def test_no_shard_that_we_cut_comes_near_the_limit(
    tmp_path: Path, num_rows: int, steps: int, features: int, is_tokens: bool, num_shards: int
) -> None:
    item: Any = "ab" if is_tokens else [0.5] * features
    columns = rows(4 * num_rows + 12, x=[[item] * steps] * (4 * num_rows + 12))
    data = cut(write(tmp_path / "a.parquet", columns), num_shards=num_shards)
    for entry in data.shards["train"]:
        size = (folder_of(data) / entry["file"]).stat().st_size
        assert size < max_bytes(data.shape, ShardSize(entry["rows"], entry["steps"])) / 1.5
