"""`rnnjob evaluate`: the metrics of a run's model, whatever rows it is given."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from tests.conftest import Cli
from tests.unit.datasets.tables.made import write

SMALL = ("--set", "model.hidden_size=8", "--batch-size", "64", "--epochs", "2", "--json")
OWN_MODEL = """
from torch import nn

class Mean(nn.Module):
    def __init__(self, num_features, num_outputs):
        super().__init__()
        self.head = nn.Linear(num_features, num_outputs)

    def forward(self, x, lengths=None):
        return self.head(x.mean(1))
"""


@pytest.fixture(scope="module")
def work(module_rnnjob: Cli) -> Iterator[Path]:
    """A folder with a run on images, a run on tables, and their data."""
    folder = module_rnnjob.cwd
    taps(folder / "taps.parquet", 120)
    submit(module_rnnjob, "--run-id", "images", "--dataset", "mnist-sample", *SMALL)
    submit(module_rnnjob, "--run-id", "taps", "--dataset", "parquet:taps.parquet", *SMALL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in module_rnnjob.environment.items():
            if name.startswith(("RNNJOB_", "XDG_")):
                patch.setenv(name, value)
        patch.delenv("RNNJOB_DATA_DIR", raising=False)
        yield folder


def submit(rnnjob: Cli, *arguments: str) -> None:
    done = rnnjob("submit", "--local", *arguments)
    assert done.exit_code == 0, done.stderr


def taps(file: Path, num_rows: int, classes: tuple[str, ...] = ("left", "right")) -> None:
    random = np.random.default_rng(num_rows)
    inputs = [random.normal(size=(random.integers(3, 9), 2)).tolist() for _ in range(num_rows)]
    splits = [("train", "test", "train", "validation")[row % 4] for row in range(num_rows)]
    targets = [classes[row // 4 % len(classes)] for row in range(num_rows)]
    write(file, {"accel": inputs, "hand": targets, "split": splits})


def run_here(*arguments: str) -> Result:
    """Run a command in this process, which takes a second less than a process of its own."""
    return CliRunner().invoke(main, arguments)


def succeed(*arguments: str) -> Result:
    done = run_here(*arguments)
    assert done.exit_code == 0, done.output
    return done


def evaluated(*arguments: str) -> dict[str, object]:
    content: dict[str, object] = json.loads(succeed("evaluate", *arguments, "--json").stdout)
    return content


def result_of(work: Path, run_id: str) -> dict[str, object]:
    content: dict[str, object] = json.loads((work / "runs" / run_id / "result.json").read_text())
    return content


@pytest.mark.parametrize("run_id", ["images", "taps"])
def test_the_metrics_are_those_of_the_run_to_the_last_bit(work: Path, run_id: str) -> None:
    found, result = evaluated(run_id), result_of(work, run_id)
    assert (found["accuracy"], found["loss"]) == (result["test_accuracy"], result["test_loss"])
    assert found["weights_sha256"] == result["weights_sha256"]
    assert found["confusion_matrix"] == result["confusion_matrix"]
    best = evaluated(f"{run_id}:best", "--split", "validation")
    assert best["accuracy"] == result["validation_accuracy"]
    assert best["loss"] == result["validation_loss"]


def test_all_rows_of_a_table_are_evaluated_or_those_of_one_split(work: Path) -> None:
    dataset = ("--dataset", "parquet:taps.parquet")
    assert evaluated("taps", *dataset)["rows"] == 120
    split = evaluated("taps", *dataset, "--split", "test")
    own = evaluated("taps")
    assert (split["rows"], split["accuracy"]) == (own["rows"], own["accuracy"])


def test_a_checkpoint_is_named_by_its_step(work: Path) -> None:
    steps = sorted(int(p.name[5:]) for p in (work / "runs/images/checkpoints").iterdir())
    first, last = evaluated(f"images:{steps[0]}"), evaluated(f"images:{steps[-1]}")
    assert first["weights_sha256"] != last["weights_sha256"]
    done = run_here("evaluate", "images:1")
    assert done.exit_code == 2
    assert "images has no checkpoint of step 1" in done.stderr
    assert f"images:{steps[0]}" in done.stderr


def test_the_table_for_people_fits_a_terminal(work: Path) -> None:
    shown = succeed("evaluate", "images").stdout
    assert "1,000 test rows" in shown and "accuracy" in shown
    assert all(len(line) <= 80 for line in shown.splitlines())


def test_a_run_whose_data_are_gone_is_evaluated_on_others(work: Path, module_rnnjob: Cli) -> None:
    taps(work / "gone.parquet", 120)
    submit(module_rnnjob, "--run-id", "gone", "--dataset", "parquet:gone.parquet", *SMALL)
    (work / "gone.parquet").unlink()
    assert run_here("evaluate", "gone").exit_code == 2
    assert evaluated("gone", "--dataset", "parquet:taps.parquet")["rows"] == 120


def test_a_run_of_an_earlier_version_is_evaluated_too(work: Path) -> None:
    """It has no data.json, and its provenance describes images in a flat form."""
    old = work / "runs" / "old"
    shutil.copytree(work / "runs" / "images", old)
    (old / "data.json").unlink()
    provenance = json.loads((old / "provenance.json").read_text())
    data = provenance["data"]
    image, target = data.pop("input"), data.pop("target")
    data.pop("origin"), data.pop("rows_digest")
    data |= {"height": image["height"], "width": image["width"]}
    data |= {"pixel_mean": image["mean"], "pixel_std": image["std"]}
    data["num_classes"] = len(target["names"])
    (old / "provenance.json").write_text(json.dumps(provenance))
    assert evaluated("old")["accuracy"] == result_of(work, "images")["test_accuracy"]


def refused(*arguments: str) -> tuple[str, str]:
    done = run_here("evaluate", *arguments)
    assert done.exit_code == 2, done.output
    cause, cure = done.stderr.strip().splitlines()
    return cause.removeprefix("Error: "), cure.removeprefix("Try: ")


def test_rows_that_do_not_fit_the_model_are_refused_with_what_differs(work: Path) -> None:
    taps(work / "other.parquet", 20, ("left", "up"))
    cause, _ = refused("taps", "--dataset", "parquet:other.parquet")
    assert "the target 'hand' is 'up' in row 4 (from 0) of other.parquet" in cause
    write(work / "wide.parquet", {"accel": [[[1.0, 2.0, 3.0]]], "hand": ["left"]})
    assert "2" in refused("taps", "--dataset", "parquet:wide.parquet")[0]
    write(work / "named.parquet", {"acel": [[[1.0, 2.0]]], "hand": ["left"]})
    cause, cure = refused("taps", "--dataset", "parquet:named.parquet")
    assert "no column 'accel'" in cause and "did you mean 'acel'?" in cure
    assert "reads images" in refused("images", "--dataset", "parquet:taps.parquet")[0]
    assert "features" in refused("taps", "--dataset", "mnist-sample")[0]


def test_a_run_without_a_model_is_refused(work: Path) -> None:
    bare = work / "runs" / "bare"
    shutil.copytree(work / "runs" / "images", bare)
    (bare / "model.safetensors").unlink()
    assert "bare has no final model" in refused("bare")[0]
    assert evaluated("bare:best")["rows"] == 1000
    (bare / "model.safetensors").write_bytes(b"no weights")
    done = run_here("evaluate", "bare")
    assert done.exit_code == 1
    assert "model.safetensors is damaged" in done.stderr
    assert "names no checkpoint" in refused("images:worst")[0]
    assert run_here("evaluate", "nobody").exit_code == 4


def test_the_code_of_a_stranger_is_run_only_with_trust(
    work: Path, module_rnnjob: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    (work / "net.py").write_text(OWN_MODEL)
    job = ("--run-id", "own", "--dataset", "mnist-sample", "--model", "net.py:Mean")
    small = ("--batch-size", "64", "--epochs", "1", "--json")
    submit(module_rnnjob, *job, *small)
    result = result_of(work, "own")
    assert evaluated("own")["accuracy"] == result["test_accuracy"]
    monkeypatch.setenv("RNNJOB_STATE_DIR", str(work / "of another user"))
    cause, cure = refused("own")
    assert "net.py (SHA-256 " in cause and "--trust-code" in cure
    for verb in (("resume", "own", "--set", "training.epochs=2"), ("reproduce", "own")):
        done = run_here(*verb)
        assert done.exit_code == 2 and "--trust-code" in done.stderr, done.output
    assert evaluated("own", "--trust-code")["accuracy"] == result["test_accuracy"]
    assert evaluated("own")["accuracy"] == result["test_accuracy"]
