"""Pairs of runs whose comparison has a known answer, through the installed rnnjob."""

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Cli

SMALL = ["--local", "--dataset", "mnist-sample", "--set", "model.hidden_size=8", "-q",
         "--set", "dataset.num_shards=2", "--set", "training.steps=12"]  # fmt: skip


@pytest.fixture(scope="module")
def groups(module_rnnjob: Cli) -> Cli:
    """Five seeds each of two learning rates, and one of them once more."""
    for name, rate in (("fast", "0.02"), ("slow", "0.00001")):
        done = module_rnnjob("submit", *SMALL, "--seeds", "5", "--run-id", name, "--lr", rate)
        assert done.exit_code == 0, done.stderr
        assert done.stdout.split() == [f"{name}-seed{seed}" for seed in range(5)]
    again = module_rnnjob("submit", *SMALL, "--run-id", "again", "--lr", "0.02")
    assert again.exit_code == 0, again.stderr
    return module_rnnjob


def test_the_same_spec_twice_has_the_same_weights_and_nothing_differs(groups: Cli) -> None:
    found = groups("compare", "fast-seed0", "again", "--json").json
    assert found["weights"] == "same"
    differing = {name for name, each in found["differences"].items() if each}
    assert differing <= {"outcome"}
    assert {each["key"] for each in found["differences"]["outcome"]} <= {"wall_s", "samples_per_s"}
    assert "weights: the same" in groups("compare", "fast-seed0", "again").stdout


def test_another_learning_rate_differs_by_more_than_the_noise_of_five_seeds(groups: Cli) -> None:
    found = groups("compare", "fast", "slow", "--json").json
    assert found["differences"]["spec"] == [
        {"key": "training.optimizer.lr", "values": [0.02, 0.00001]}
    ]
    assert found["weights"] == "different"
    assert {each["metric"]: each["more_than_noise"] for each in found["noise"]} == {
        "test_accuracy": True,
        "test_loss": True,
    }
    assert groups("compare", "fast", "--json").json["mean"]["test_accuracy"] > 0.2


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("packages", "torch", "9.9.9"), ("hardware", "cpu_flags", ["avx", "made_up"])],
)
def test_another_torch_or_cpu_is_named_beside_equal_weights(
    groups: Cli, section: str, key: str, value: object
) -> None:
    folder = groups.cwd / "runs" / f"other-{key}"
    shutil.copytree(groups.cwd / "runs" / "again", folder)
    change(folder / "provenance.json", section, key, value)
    found = groups("compare", "again", folder.name, "--json").json
    assert found["weights"] == "same"
    assert {name for name, each in found["differences"].items() if each} == {section}
    assert [each["key"] for each in found["differences"][section]] == [key]


def change(file: Path, section: str, key: str, value: object) -> None:
    content = json.loads(file.read_text())
    (content["packages"] if section == "packages" else content)[key] = value
    file.write_text(json.dumps(content))


def test_ids_that_are_taken_are_refused_before_anything_runs(groups: Cli) -> None:
    done = groups("submit", *SMALL, "--seeds", "3", "--seed", "3", "--run-id", "fast")
    assert (done.exit_code, "'fast-seed3' is already in" in done.cause) == (2, True)
    assert not (groups.cwd / "runs" / "fast-seed5").exists()
