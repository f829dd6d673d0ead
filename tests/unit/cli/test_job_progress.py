"""What a follower of a job is shown of a start on other hardware."""

import pytest

from orchestrator.cli.job_progress import JobView
from orchestrator.runs import RunStatus
from workers.storage.typed_json import Json

RUNNING = RunStatus(run_id="a", state="RUNNING", mode="local")


def shown(capsys: pytest.CaptureFixture[str], record: Json) -> str:
    with JobView(num_steps=10, print_every_steps=0) as view:
        view.update(RUNNING, [{"kind": "start", "step": 4, "attempt": 2, "workers": 1, **record}])
    return " ".join(capsys.readouterr().err.split())


def test_other_hardware_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, {"device": "a new CPU", "other_devices": "an old CPU"})
    assert "warning: a new CPU computes other bits than an old CPU" in text


@pytest.mark.parametrize("record", [{}, {"device": "a new CPU"}, {"other_devices": "an old CPU"}])
def test_a_record_without_one_of_the_names_is_shown(
    capsys: pytest.CaptureFixture[str], record: Json
) -> None:
    assert "attempt 2: continuing after step 4 with 1 worker(s)" in shown(capsys, record)
