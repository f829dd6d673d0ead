"""Damaged idx files and prepared data give the original rows or an error that names the damage."""

import gzip
import hashlib
import io
import json
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.datasets.idx import read_idx
from orchestrator.datasets.prepare import prepare
from orchestrator.datasets.prepared import PreparedData, open_prepared
from orchestrator.datasets.sources import find_source
from tests.conftest import ENOUGH_S, Cli
from tests.unit.datasets.idx_files import NAMES, idx_bytes, random_split, write_idx_files
from tests.unit.hostile import NO_OBJECTS, ODD, changed, damaged, files_in
from workers.config import SPLITS
from workers.data.tables import rows_from_table
from workers.errors import DataError, InputError, JobError
from workers.storage.storage import Storage

IMAGES, LABELS = (idx_bytes(array) for array in random_split(20))
ZIPPED = gzip.compress(IMAGES, mtime=0)
HUGE_COUNTS = st.builds(
    lambda counts, rest: bytes([0, 0, 8, 3]) + struct.pack(">3I", *counts) + rest,
    st.tuples(*[st.sampled_from([0, 1, 2, 4, 2**16, 2**31, 2**32 - 1])] * 3),
    st.binary(max_size=40),
)


def check_read_or_refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    for dimensions in (1, 3):
        try:
            found = read_idx(path, dimensions)
        except DataError as error:
            assert str(path) in error.cause and error.cure
        else:
            plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
            assert idx_bytes(found) == plain


@given(damaged(IMAGES) | damaged(LABELS) | damaged(ZIPPED) | HUGE_COUNTS)
@settings(max_examples=200)
def test_a_damaged_idx_file_is_read_completely_or_refused(tmp_path: Path, data: bytes) -> None:
    check_read_or_refused(tmp_path / "x", data)


@given(HUGE_COUNTS)
def test_hostile_counts_in_a_zipped_file_are_refused(tmp_path: Path, data: bytes) -> None:
    check_read_or_refused(tmp_path / "x", gzip.compress(data))


def test_a_file_that_unzips_without_end_is_refused_in_little_memory(tmp_path: Path) -> None:
    """Six MB that unzip to six GB. No more is unpacked than the header promises."""
    zeros = gzip.compress(bytes(2**26))
    bomb = gzip.compress(idx_bytes(np.zeros((1, 2, 2), np.uint8))) + zeros * 90
    (tmp_path / "x").write_bytes(bomb)
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from orchestrator.datasets.idx import read_idx\n"
        "from workers.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: read_idx(Path(sys.argv[1]), 3)\n"
        "except DataError as error: print(error.cause)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "x")],
        capture_output=True,
        text=True,
        timeout=ENOUGH_S,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33)),
    )
    cause, kilobytes = done.stdout.splitlines()
    assert cause.endswith("is too long: it has more than the 20 bytes that its header promises")
    assert int(kilobytes) < 100_000


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    write_idx_files(tmp_path / "data")
    return tmp_path / "data"


@given(st.sampled_from(NAMES), st.data())
def test_a_data_set_with_a_damaged_file_is_cut_or_refused_and_nothing_else_is_touched(
    tmp_path: Path, data_dir: Path, name: str, data: st.DataObject
) -> None:
    write_idx_files(data_dir)
    path = data_dir / name
    path.write_bytes(data.draw(damaged(path.read_bytes()) | HUGE_COUNTS))
    before = files_in(tmp_path, but=tmp_path / "cache")
    try:
        prepare("mnist", data_dir, num_shards=3).verify()
    except InputError as error:
        assert error.cause and error.cure
    assert files_in(tmp_path, but=tmp_path / "cache") == before
    assert not list((tmp_path / "cache").glob("prepared/.*")), "an incomplete cut was left behind"


@given(st.text(max_size=12) | st.sampled_from(["../x", "/etc", "a\0b", "\udcff", "mnist/../x"]))
def test_any_other_name_of_a_data_set_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no data set"):
        find_source(name, tmp_path, tmp_path)


@pytest.mark.parametrize("folder", ["x" * 5000, "a\0b", "\udcff", "none"])
def test_an_impossible_data_folder_is_named(tmp_path: Path, folder: str) -> None:
    with pytest.raises(DataError, match="data folder"):
        prepare("mnist", tmp_path / folder)


# --- prepared data ---


@pytest.fixture
def prepared(tmp_path: Path, data_dir: Path) -> Path:
    """A folder of shards that a test may damage."""
    data = prepare("mnist", data_dir, num_shards=3)
    folder = Path(data.publish(Storage(str(tmp_path / "runs"))))
    (tmp_path / "manifest.json").write_bytes((folder / "manifest.json").read_bytes())
    return folder


def manifest_of(prepared: Path) -> dict[str, Any]:
    """Return the original manifest."""
    return json.loads((prepared.parents[2] / "manifest.json").read_bytes())


def open_and_read(folder: Path, publish_to: Path | None = None) -> PreparedData | None:
    """Read the data in every way that a job does. Returns None if it is refused."""
    try:
        data = open_prepared(Storage(str(folder)))
        data.verify()
        assert all(data.num_bytes(split) >= 0 for split in SPLITS)
        for split in SPLITS:
            for shard in range(data.shape.num_shards):
                rows = rows_from_table(data.table(split, shard), data.shape)
                assert len(rows) == len(range(shard, data.shape.num_rows(split), 3))
                assert not len(rows) or int(rows.targets_N.max()) < data.shape.target.num_outputs
        if publish_to:
            data.publish(Storage(str(publish_to)))
    except JobError as error:
        assert error.cause and error.cure
        return None
    return data


MANIFEST_SHAPE = {
    "name": "mnist",
    "fingerprint": "f" * 64,
    "num_shards": 3,
    "num_classes": 10,
    "height": 4,
    "width": 3,
    "train_rows": 56,
    "validation_rows": 5,
    "test_rows": 17,
    "pixel_mean": 0.5,
    "pixel_std": 0.25,
    "test_head_rows": 0,
}
ENTRY = {"file": "train-00000-of-00003.parquet", "rows": 19, "sha256": "0" * 64}
ODD_FILES = st.sampled_from(
    ["../../secret", "..", "/etc/passwd", "", "a\0b", "\ud800", "x/y", "x" * 5000, "manifest.json"]
)


@given(NO_OBJECTS | changed({"schema_version": 1, "shape": {}, "shards": {}}))
def test_any_manifest_is_opened_or_refused(prepared: Path, manifest: bytes) -> None:
    (prepared / "manifest.json").write_bytes(manifest)
    assert open_and_read(prepared) is None


@given(changed(MANIFEST_SHAPE))
@settings(max_examples=80)
def test_a_manifest_whose_shape_is_not_that_of_its_shards_is_refused(
    prepared: Path, shape: bytes
) -> None:
    manifest = manifest_of(prepared)
    original = dict(manifest["shape"])
    manifest["shape"] = {**json.loads(shape), "fingerprint": original["fingerprint"]}
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    if data := open_and_read(prepared):
        sizes = ("num_shards", "train_rows", "validation_rows", "test_rows")
        assert {key: getattr(data.shape, key) for key in sizes} == {
            key: original[key] for key in sizes
        }
        found, wanted = data.shape.input, original["input"]
        assert (found.height, found.width) == (wanted["height"], wanted["width"])


@given(st.sampled_from(["file", "rows", "sha256"]), ODD | ODD_FILES, st.sampled_from(SPLITS))
def test_a_manifest_whose_entries_are_odd_is_refused(
    prepared: Path, key: str, value: Any, split: str
) -> None:
    manifest = manifest_of(prepared)
    manifest["shards"][split][1][key] = value
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    assert open_and_read(prepared) is None


def test_a_manifest_cannot_cause_reads_or_writes_elsewhere(tmp_path: Path, prepared: Path) -> None:
    """Only the file name is wrong; the hash is right."""
    manifest = manifest_of(prepared)
    entry = manifest["shards"]["train"][0]
    (prepared.parent / "secret").write_bytes((prepared / entry["file"]).read_bytes())
    entry["file"] = "../secret"
    (prepared / "manifest.json").write_text(json.dumps(manifest))
    before = files_in(tmp_path)
    assert open_and_read(prepared, publish_to=tmp_path / "elsewhere" / "runs") is None
    assert files_in(tmp_path) == before


def change_shard(prepared: Path, content: Callable[[bytes], bytes]) -> None:
    """Change the first shard, and its hash in the manifest."""
    manifest = manifest_of(prepared)
    entry = manifest["shards"]["train"][0]
    data = content((prepared / entry["file"]).read_bytes())
    (prepared / entry["file"]).write_bytes(data)
    entry["sha256"] = hashlib.sha256(data).hexdigest()
    (prepared / "manifest.json").write_text(json.dumps(manifest))


def parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def rows(num: int = 19, pixels: int = 12) -> Any:
    flat = pa.array(np.zeros(num * pixels, np.uint8))
    return pa.FixedSizeListArray.from_arrays(flat, pixels)


ODD_TABLES: dict[str, Callable[[], pa.Table]] = {
    "no image": lambda: pa.table({"label": pa.array([1] * 19, pa.uint8())}),
    "no label": lambda: pa.table({"image": rows()}),
    "nothing": lambda: pa.table({}),
    "a row less": lambda: pa.table({"image": rows(18), "label": pa.array([1] * 18, pa.uint8())}),
    "wider": lambda: pa.table({"image": rows(19, 13), "label": pa.array([1] * 19, pa.uint8())}),
    "lists": lambda: pa.table({"image": [[1] * 12] * 19, "label": pa.array([1] * 19, pa.uint8())}),
    "text": lambda: pa.table({"image": rows(), "label": ["a"] * 19}),
    "floats": lambda: pa.table({"image": rows(), "label": [0.5] * 19}),
    "no labels": lambda: pa.table({"image": rows(), "label": pa.array([None] * 19, pa.uint8())}),
    "high label": lambda: pa.table({"image": rows(), "label": pa.array([10] * 19, pa.uint8())}),
    "no images": lambda: pa.table(
        {
            "image": pa.array([None] * 19, pa.list_(pa.uint8(), 12)),
            "label": pa.array([1] * 19, pa.uint8()),
        }
    ),
}


@pytest.mark.parametrize("table", ODD_TABLES)
def test_a_shard_of_another_form_is_refused_even_if_its_hash_fits(
    prepared: Path, table: str
) -> None:
    change_shard(prepared, lambda _: parquet(ODD_TABLES[table]()))
    assert open_and_read(prepared) is None


@given(st.data())
@settings(max_examples=120)
def test_damaged_parquet_whose_hash_fits_is_read_or_refused(
    prepared: Path, data: st.DataObject
) -> None:
    shard = next(iter(sorted(prepared.glob("train-00000*"))))
    original = shard.read_bytes()
    try:
        change_shard(prepared, lambda content: data.draw(damaged(content)))
        open_and_read(prepared)
    finally:
        shard.write_bytes(original)


def test_a_shard_that_expands_to_far_more_rows_is_refused_at_once(prepared: Path) -> None:
    num = 20_000_000
    labels = pa.DictionaryArray.from_arrays(pa.array(np.zeros(num, np.int8)), [1]).cast(pa.uint8())
    change_shard(prepared, lambda _: parquet(pa.table({"label": labels, "image": labels})))
    began = time.process_time()  # of this process: no other slows it down
    assert open_and_read(prepared) is None
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "arguments",
    [
        ("--validation-rows", "²"),
        ("--validation-rows", "9" * 5000),
        ("--num-shards", str(10**30)),
        ("--num-shards", "9" * 5000),
        ("--dataset", "../x"),
    ],
    ids=str,
)
def test_data_prepare_refuses_hostile_values_in_two_lines(
    rnnjob: Cli, arguments: tuple[str, str]
) -> None:
    done = rnnjob("data", "prepare", "--dataset", "mnist-sample", *arguments)
    assert done.exit_code == 2
    assert done.cause
