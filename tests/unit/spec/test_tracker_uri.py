"""Which trackers a spec may name, and that none of it decides the result."""

import pytest

from orchestrator.spec.build import build_spec
from orchestrator.spec.tree import SpecError


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:5000", "https://mlflow.example.org/team/a", "http://[::1]:5000"]
)
def test_a_server_is_taken_and_a_slash_at_the_end_is_none(uri: str) -> None:
    assert build_spec(flags={"tracking.mlflow": uri}).tracking.mlflow == uri
    assert build_spec(flags={"tracking.mlflow": f"{uri}/"}).tracking.mlflow == uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://ann:hunter2@127.0.0.1:5000",
        "http://hunter2@127.0.0.1:5000",
        "https://127.0.0.1?token=hunter2",
        "http://a/b@hunter2:1",
    ],
)
def test_a_password_is_refused_and_shown_nowhere(uri: str) -> None:
    with pytest.raises(SpecError) as error:
        build_spec(flags={"tracking.mlflow": uri})
    assert "hunter2" not in str(error.value)
    assert "--secret MLFLOW_TRACKING_TOKEN" in error.value.cure


@pytest.mark.parametrize(
    "uri",
    ["sqlite:///mlflow.db", "file:///mlruns", "./mlruns", "databricks", "http://", "http://a:b",
     "http://a b", "http://a\x1b[31m"],
)  # fmt: skip
def test_what_is_no_server_is_refused_and_the_cure_starts_one(uri: str) -> None:
    with pytest.raises(SpecError) as error:
        build_spec(flags={"tracking.mlflow": uri})
    assert "mlflow server --backend-store-uri sqlite:///mlflow.db" in error.value.cure


def test_a_tracker_does_not_change_the_fingerprint() -> None:
    plain, tracked = build_spec(), build_spec(flags={"tracking.mlflow": "http://a:5000"})
    assert plain.fingerprint("data") == tracked.fingerprint("data")
    assert plain.lineage("data", 10) == tracked.lineage("data", 10)
