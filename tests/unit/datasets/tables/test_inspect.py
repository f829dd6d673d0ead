"""What inspect says of tables that can be trained on, and of those that cannot."""

import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import given, settings

from orchestrator.cli.data.inspect import inspect_command
from orchestrator.datasets.options import TableOptions
from orchestrator.datasets.tables.inspect import inspect_tables
from tests.unit.datasets.tables.made import rows, write
from tests.unit.datasets.tables.test_any_table import tables


def inspected(path: Path, as_tokens: bool = False, **options: Any) -> dict[str, Any]:
    return inspect_tables(str(path), TableOptions.model_validate(options), as_tokens)


def test_a_good_table_is_described_with_the_command_to_train_on_it(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(40, id=list(range(40))))
    found = inspected(path)
    assert (found["rows"], found["files"], found["problems"]) == (40, 1, [])
    columns = {column["name"]: column for column in found["columns"]}
    roles = {name: column["role"] for name, column in columns.items()}
    assert roles == {"x": "inputs", "y": "target", "split": "split", "id": "id"}
    lengths = columns["x"]["lengths"]
    assert (lengths["min"], lengths["max"]) == (1, 5)
    assert sum(each["rows"] for each in lengths["histogram"]) == 40
    assert columns["y"]["distinct"] == 2
    assert [found["splits"][split]["rows"] for split in ("train", "validation", "test")] == [
        20,
        10,
        10,
    ]
    assert found["classes"][0] == {"class": "no", "train": 10, "validation": 5, "test": 5}
    wanted = f"rnnjob submit --local --dataset parquet:{path} --target y"
    assert found["submit"] == wanted


def test_the_command_repeats_what_was_given_and_what_the_rows_need(tmp_path: Path) -> None:
    columns = rows(8, x=[["a", "b"]] * 8, group=list("abcdefgh"))
    path = write(tmp_path / "a b.parquet", {**columns, "split": ["train"] * 6 + ["test"] * 2})
    found = inspected(path, group="group", validation_fraction=0)
    assert found["problems"] == [] and found["vocabulary"] == 2
    words = shlex.split(found["submit"])
    assert words[4] == f"parquet:{path}"
    for text in (
        "dataset.group=group", "dataset.validation_fraction=0.0", "model.embedding_size=32",
        "dataset.num_shards=1", "training.keep=last",
    ):  # fmt: skip
        assert text in words


def test_why_a_table_cannot_be_trained_on_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(12, x=[[]] * 3 + [[1.0]] * 7 + [None, [None]]))
    found = inspected(path)
    assert "'x' is null in row 10" in found["problems"][0]["cause"]
    column = found["columns"][0]
    assert (column["nulls"], column["missing"], column["lengths"]["min"]) == (1, 1, 0)
    two = inspected(write(tmp_path / "b.parquet", rows(z=[1] * 12)))
    assert "2 columns can be the target" in two["problems"][0]["cause"]
    assert two["columns"][3]["role"] is None


@given(tables())
@settings(max_examples=30)
def test_any_table_is_described(tmp_path: Path, table: pa.Table) -> None:
    path = write(tmp_path / "a.parquet", table, row_group_size=5)
    found = inspected(path)
    assert found["rows"] == table.num_rows
    assert [column["name"] for column in found["columns"]] == table.schema.names
    for problem in found["problems"]:
        assert problem["cause"] and problem["cure"]


def test_the_command_prints_lines_for_a_terminal_or_one_document(tmp_path: Path) -> None:
    from click.testing import CliRunner

    path = write(tmp_path / "a.parquet", rows(40))
    done = CliRunner().invoke(inspect_command, [str(path)])
    assert done.exit_code == 0, done.output
    wide = [line for line in done.stdout.splitlines() if len(line) > 80]
    assert all(str(tmp_path) in line for line in wide)
    assert "to train:" in done.stdout and "#####" in done.stdout
    document = CliRunner().invoke(inspect_command, [str(path), "--json"])
    import json

    assert json.loads(document.stdout)["schema_version"] == 1


def test_classes_have_the_names_that_a_job_gives_them(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", rows(40, y=[row // 4 % 2 == 0 for row in range(40)]))
    assert [each["class"] for each in inspected(path)["classes"]] == ["false", "true"]


def test_the_lengths_are_aligned_though_the_last_range_has_one(tmp_path: Path) -> None:
    from click.testing import CliRunner

    lengths = [row % 11 + 1 for row in range(44)]
    path = write(tmp_path / "a.parquet", rows(44, x=[[[0.0]] * each for each in lengths]))
    lines = CliRunner().invoke(inspect_command, [str(path)]).stdout.splitlines()
    bars = [line for line in lines if "###" in line]
    assert bars[0].startswith("   1 to  2  #") and bars[-1].startswith("  11        #")
