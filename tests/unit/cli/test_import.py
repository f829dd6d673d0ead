"""rnnjob data import: what is printed, and where the file goes."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from tests.unit.datasets.idx_files import NAMES, write_idx_files

LONG = "id,t,x,y,label,split\na,2,1,,u,train\nb,1,5,6,v,train\na,1,3,4,u,train\n"


def rnnjob(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["data", "import", *arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("steps.csv").write_text(LONG)
    return tmp_path


def test_it_says_what_was_written_and_how_to_go_on(folder: Path) -> None:
    done = rnnjob("csv-long", "steps.csv", "--time", "t", "--target", "label")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"{folder}/steps.parquet: 2 sequences of 1 to 2 time steps",
        "  id  string",
        "  inputs  list<item: fixed_size_list<item: double>[2]>: x, y",
        "  target  string",
        "  split  string",
        "Next: rnnjob data inspect parquet:steps.parquet",
        "      rnnjob submit --dataset parquet:steps.parquet --set dataset.missing=zero",
    ]
    assert done.stderr.splitlines() == [
        "note: sequences that had to be sorted by time: 1",
        "note: inputs that are missing or not finite, and are written so: 1",
    ]


def test_json_is_one_document(folder: Path) -> None:
    done = rnnjob("csv-long", "steps.csv", "--inputs", "x, y", "-o", "out/a b.parquet", "--json")
    content = json.loads(done.stdout)
    assert content["schema_version"] == 1
    assert (content["rows"], content["steps"], content["features"]) == (2, 3, ["x", "y"])
    assert content["columns"].keys() == {"id", "inputs", "split"}
    assert content["next"][0] == "rnnjob data inspect 'parquet:out/a b.parquet'"
    assert any("there is no target" in note for note in content["notes"])
    assert Path(content["where"]) == folder / "out/a b.parquet"


def test_an_error_is_one_line_of_cause_and_one_of_cure(folder: Path) -> None:
    done = rnnjob("csv-long", "steps.csv", "--target", "lable")
    assert done.exit_code == 2
    assert done.stderr.splitlines() == [
        "Error: --target: steps.csv has no column 'lable'",
        "Try: did you mean 'label'? Its columns are id, t, x, y, label, split",
    ]
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["steps.csv"]


def test_wide_csv_npz_and_idx_are_converted(folder: Path) -> None:
    Path("rows.csv").write_text("a0;a1;y\n1;2;0.5\n")
    np.savez("arrays.npz", x=np.zeros((3, 4)), y=[0, 1, 0])
    write_idx_files(folder)
    assert rnnjob(
        "csv-wide", "rows.csv", "--prefix", "a", "--target", "y", "--delimiter", ";"
    ).exit_code == 0  # fmt: skip
    assert rnnjob("npz", "arrays.npz", "--split", "train").exit_code == 0
    assert rnnjob("idx", *NAMES[:2], "-o", "images.parquet").exit_code == 0
    assert pq.read_table("rows.parquet")["target"].to_pylist() == [0.5]
    assert pq.read_table("arrays.parquet")["split"].to_pylist() == ["train"] * 3
    assert pq.read_table("images.parquet").num_rows == 61


def test_among_kept_columns_the_target_is_named(folder: Path) -> None:
    done = rnnjob("csv-long", "steps.csv", "--target", "label", "--keep", "split", "--inputs", "x")
    assert "--target" not in done.stdout
    text = LONG.replace("split", "device")
    Path("steps.csv").write_text(text)
    done = rnnjob("csv-long", "steps.csv", "--target", "label", "--keep", "device", "--force")
    assert done.stdout.splitlines()[-1].endswith("--target target --set dataset.missing=zero")


def test_tokens_need_an_embedding(folder: Path) -> None:
    done = rnnjob("csv-long", "steps.csv", "--inputs", "label", "--tokens", "--keep", "t")
    assert done.exit_code == 2  # a sequence has several values in t
    done = rnnjob("csv-long", "steps.csv", "--inputs", "label", "--tokens")
    assert done.stdout.splitlines()[-1].endswith("--set model.embedding_size=32")


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "é"])
def test_a_delimiter_is_one_character(folder: Path, delimiter: str) -> None:
    done = rnnjob("csv-wide", "steps.csv", "--delimiter", delimiter)
    assert done.exit_code == 2
    assert done.stderr.splitlines()[0] == f"Error: --delimiter is '{delimiter}'"
