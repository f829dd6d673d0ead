"""A user's own tables, from a folder of Parquet files to a result."""

import json
from pathlib import Path

import numpy as np

from tests.conftest import Cli
from tests.unit.datasets.tables.made import write


def gestures(folder: Path, num_rows: int = 240) -> Path:
    """Write sequences of three kinds in two files: which feature is high on average."""
    random = np.random.default_rng(0)
    kinds = [row % 3 for row in range(num_rows)]
    inputs = []
    for kind in kinds:
        steps = random.normal(size=(random.integers(4, 12), 3))
        steps[:, kind] += 2.0
        inputs.append(steps.tolist())
    names = [("left", "right", "up")[kind] for kind in kinds]
    half = num_rows // 2
    write(folder / "a.parquet", {"accel": inputs[:half], "gesture": names[:half]})
    write(folder / "b.parquet", {"accel": inputs[half:], "gesture": names[half:]})
    return folder


JOB = ["--epochs", "3", "--batch-size", "32", "--set", "model.hidden_size=16", "--json"]


def test_the_command_that_inspect_prints_trains(rnnjob: Cli, tmp_path: Path) -> None:
    gestures(tmp_path / "recordings")
    found = rnnjob("data", "inspect", "recordings", "--json").json
    assert found["problems"] == [] and found["rows"] == 240
    words = found["submit"].split()[1:]
    assert words[:4] == ["submit", "--local", "--dataset", "parquet:recordings"]
    done = rnnjob(*words, *JOB)
    assert done.exit_code == 0, done.stderr
    assert "the inputs are the column 'accel'" in done.stderr
    result = done.json
    assert result["test_accuracy"] > 0.8
    run = tmp_path / "runs" / result["run_id"]
    origin = json.loads((run / "provenance.json").read_text())["data"]["origin"]
    assert origin["uri"] == f"parquet:{tmp_path}/recordings" and origin["num_files"] == 2
    assert set(origin["splits"]) == {"train", "test"}
    assert "240 rows are too few to hold some out" in done.stderr


def test_a_run_does_not_go_on_with_rows_that_changed(rnnjob: Cli, tmp_path: Path) -> None:
    gestures(tmp_path / "recordings")
    dataset = ["--dataset", "parquet:recordings"]
    stopped = rnnjob("submit", "--local", *dataset, *JOB, "--set", "limits.steps=4")
    run_id = stopped.json["run_id"]
    gestures(tmp_path / "recordings", 243)
    resumed = rnnjob("resume", run_id, "--local", "--set", "limits.steps=null")
    assert resumed.exit_code == 2
    assert f"the rows of parquet:{tmp_path}/recordings have changed" in resumed.cause
    gestures(tmp_path / "recordings")
    assert rnnjob("resume", run_id, "--local", "--set", "limits.steps=null").exit_code == 0


def test_inspect_of_rows_that_cannot_be_trained_on_is_exit_2(rnnjob: Cli, tmp_path: Path) -> None:
    gestures(tmp_path / "recordings")
    done = rnnjob("data", "inspect", "recordings", "--target", "nothing", "--json")
    assert done.exit_code == 2
    assert "nothing" in done.json["problems"][0]["cause"]
