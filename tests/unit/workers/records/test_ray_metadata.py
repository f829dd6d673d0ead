"""What Ray's record of a job gets as metadata."""

import json
from typing import Any

import pytest

from workers.records.ray_metadata import show_metadata, with_metadata

FACTS = {"state": "RUNNING", "progress": "epoch 2, step 40"}


def record(**values: Any) -> bytes:
    return json.dumps({"status": "RUNNING", "entrypoint": "python", **values}).encode()


def test_values_are_added_and_all_else_stays() -> None:
    changed = with_metadata(record(metadata={"mine": "1", "rnnjob.state": "PENDING"}), FACTS)
    assert changed is not None
    assert json.loads(changed) == {
        "status": "RUNNING",
        "entrypoint": "python",
        "metadata": {"mine": "1", "rnnjob.state": "RUNNING", "rnnjob.progress": "epoch 2, step 40"},
    }


def test_a_job_without_metadata_gets_some() -> None:
    changed = with_metadata(record(metadata=None), {"score": "test accuracy 98.00%"})
    assert changed is not None
    assert json.loads(changed)["metadata"] == {"rnnjob.score": "test accuracy 98.00%"}


@pytest.mark.parametrize("status", ["PENDING", "STOPPED", "FAILED", "SUCCEEDED"])
def test_the_record_of_a_job_that_does_not_run_is_left_alone(status: str) -> None:
    assert with_metadata(record(status=status), FACTS) is None


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff"])
def test_another_form_of_record_is_an_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        with_metadata(content, FACTS)


def test_without_ray_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    show_metadata("job", FACTS)
    assert caplog.records == []
