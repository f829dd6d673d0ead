"""Nothing is sent to a tracker that only a run's record names, and nothing without MLflow."""

import sys

import pytest

from orchestrator.spec.build import build_spec
from orchestrator.tracking.named import check_installed, named_tracker, recorded_tracker
from workers.errors import InputError

URI = "http://mlflow.example.org:5000"
SPEC = build_spec(flags={"tracking.mlflow": URI})


def test_a_tracker_of_a_strangers_spec_is_asked_for_and_then_remembered() -> None:
    with pytest.raises(InputError) as error:
        recorded_tracker(SPEC, "run-1", "--mlflow ")
    assert "you have not used before" in error.value.cause
    assert error.value.cure == f"if you trust it: --mlflow {URI}"
    assert named_tracker(f"{URI}/") == URI
    assert recorded_tracker(SPEC, "run-1", "--mlflow ") == URI


def test_the_tracker_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{URI}/")
    assert recorded_tracker(SPEC, "run-1", "--mlflow ") == URI


def test_a_spec_without_a_tracker_needs_no_name_and_no_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    assert recorded_tracker(build_spec(), "run-1", "--mlflow ") is None
    check_installed(build_spec())


def test_a_tracker_without_the_package_is_refused_with_a_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError) as error:
        check_installed(SPEC)
    assert "the package mlflow is not installed" in error.value.cause
    assert "pip install 'rnnjob[mlflow]'" in error.value.cure


def test_a_password_on_the_command_line_is_refused_and_not_shown() -> None:
    with pytest.raises(InputError) as error:
        named_tracker("http://ann:hunter2@127.0.0.1")
    assert error.value.cause.startswith("--mlflow holds") and "hunter2" not in str(error.value)
