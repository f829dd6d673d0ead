"""The presets as a user runs them, for a few steps."""

from typing import Any

import pytest

from tests.conftest import Cli

JOB = ["submit", "--json", "--dataset", "mnist-sample", "--set", "training.steps=3"]


@pytest.fixture(scope="module")
def cli(module_rnnjob: Cli) -> Cli:
    return module_rnnjob


@pytest.fixture(scope="module")
def best(cli: Cli) -> dict[str, Any]:
    """The result of the preset `best` in one process, run `best`."""
    done = cli(*JOB, "--preset", "best", "--precision", "fp32", "--local", "--run-id", "best")
    assert done.exit_code == 0, done.stderr
    result: dict[str, Any] = done.json
    return result


def test_best_has_the_same_weights_on_two_workers(
    cli: Cli, best: dict[str, Any], no_process_left: None
) -> None:
    done = cli(*JOB, "--preset", "best", "--precision", "fp32", "--workers", "2")
    assert done.exit_code == 0, done.stderr
    assert done.json["weights_sha256"] == best["weights_sha256"]


def test_the_model_of_best_can_be_handed_on(cli: Cli, best: dict[str, Any]) -> None:
    for name in ("onnx", "bundle"):
        done = cli("export", "best", "--format", name, "-o", f"out-{name}", "--json")
        assert done.exit_code == 0, done.stderr


def test_what_the_built_in_models_have_is_refused_for_best(cli: Cli) -> None:
    done = cli("submit", "--local", "--preset", "best", "--set", "model.cell=gru", "--dry-run")
    assert done.exit_code == 2
    assert "model.cell: keys of the built-in models" in done.stderr
