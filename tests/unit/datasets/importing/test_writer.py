"""A file of sequences appears whole or not at all, on any storage."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator.datasets.importing import writer
from orchestrator.datasets.importing.sequences import Sequences, lists_of, with_split
from orchestrator.datasets.importing.writer import write_sequences
from tests.unit.hostile import files_in
from workers.errors import DataError, InputError, StorageError


def batch(*lengths: int, value: float = 1.0) -> pa.RecordBatch:
    values = np.full(sum(lengths), value)
    return pa.RecordBatch.from_pydict({"inputs": lists_of(values, np.array(lengths))})


def test_what_was_written_is_counted(tmp_path: Path) -> None:
    batches = [batch(3, 1), batch(), batch(7, value=float("nan")), batch(2, value=float("inf"))]
    written = write_sequences(Sequences(iter(batches)), str(tmp_path / "new/out.parquet"))
    assert written.where == str(tmp_path / "new/out.parquet")
    assert (written.rows, written.steps) == (4, 13)
    assert (written.min_length, written.max_length) == (1, 7)
    assert written.missing_values == 9
    assert files_in(tmp_path).keys() == {tmp_path / "new/out.parquet"}


def test_small_batches_are_joined_to_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_ROW_GROUP_BYTES", 1000)
    write_sequences(Sequences(batch(20) for _ in range(20)), str(tmp_path / "x.parquet"))
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [7, 7, 6]


def test_a_split_is_written_to_a_column(tmp_path: Path) -> None:
    sequences = with_split(Sequences(iter([batch(1, 2)])), "test")
    write_sequences(sequences, str(tmp_path / "x.parquet"))
    assert pq.read_table(tmp_path / "x.parquet")["split"].to_pylist() == ["test", "test"]


def test_an_existing_file_is_replaced_only_with_force(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"old")
    with pytest.raises(InputError, match="exists") as caught:
        write_sequences(Sequences(iter([batch(1)])), str(tmp_path / "x.parquet"))
    assert "--force" in caught.value.cure
    assert (tmp_path / "x.parquet").read_bytes() == b"old"
    write_sequences(Sequences(iter([batch(1)])), str(tmp_path / "x.parquet"), force=True)
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 1


@pytest.mark.parametrize("error", [DataError("bad row", "fix it"), KeyboardInterrupt()])
def test_after_an_error_the_old_file_is_still_there_and_nothing_else(
    tmp_path: Path, error: BaseException
) -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(4)
        raise error

    (tmp_path / "x.parquet").write_bytes(b"old")
    with pytest.raises(type(error)):
        write_sequences(Sequences(batches()), str(tmp_path / "x.parquet"), force=True)
    assert files_in(tmp_path) == {tmp_path / "x.parquet": b"old"}


@pytest.mark.parametrize("output", ["", "folder", "folder/", "/", ".", ".."])
def test_a_folder_is_no_name_for_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="a folder"):
        write_sequences(Sequences(iter([batch(1)])), output, force=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for output in (tmp_path / "file/x.parquet", tmp_path / f"{'x' * 300}.parquet"):
        with pytest.raises(StorageError, match=r"cannot (write|read)") as caught:
            write_sequences(Sequences(iter([batch(1)])), str(output))
        assert "--output" in caught.value.cure


def test_the_uri_of_a_folder_is_a_place_to_write_to(tmp_path: Path) -> None:
    write_sequences(Sequences(iter([batch(1)])), f"file://{tmp_path}/a/x.parquet")
    assert pq.read_table(tmp_path / "a/x.parquet").num_rows == 1
