"""What a follower of a job is shown of a start on other hardware."""

import pytest

from orchestrator.display.terminal import JobView
from orchestrator.runs import RunStatus
from orchestrator.runs.progress import Reached
from workers.storage.typed_json import Json

RUNNING = RunStatus(run_id="a", state="RUNNING", mode="local")


def shown(capsys: pytest.CaptureFixture[str], record: Json) -> str:
    with JobView(num_steps=10, print_every_steps=0) as view:
        view.update(RUNNING, [{"kind": "start", "step": 4, "attempt": 2, "workers": 1, **record}])
    return " ".join(capsys.readouterr().err.split())


def test_other_hardware_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, {"device": "a new CPU", "other_devices": "an old CPU"})
    assert "warning: a new CPU computes other bits than an old CPU" in text


def test_an_epoch_is_shown_once_though_a_restart_writes_its_record_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    epoch = {"kind": "epoch", "step": 4, "train_loss": 0.5, "train_accuracy": 0.5}
    first, second = ({**epoch, "epoch": number, "samples_per_s": 9.0} for number in (1, 2))
    with JobView(num_steps=10, print_every_steps=0) as view:
        view.update(RUNNING, [first])
        view.update(RUNNING, [first, second])
    assert [line.split()[1] for line in capsys.readouterr().err.splitlines()] == ["1", "2"]


def test_a_run_that_is_taken_up_again_shows_nothing_of_what_it_had_shown_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    epoch = {"kind": "epoch", "train_loss": 0.5, "train_accuracy": 0.5, "samples_per_s": 9.0}
    start = {"kind": "start", "workers": 1}
    before = [
        {**start, "attempt": 1, "step": 0},
        {**epoch, "epoch": 1, "step": 4},
        {**start, "attempt": 2, "step": 4},
        {"kind": "step", "step": 7, "loss": 0.5, "accuracy": 0.5},
    ]
    after = [{**start, "attempt": 3, "step": 4}, {**epoch, "epoch": 2, "step": 8}]
    with JobView(num_steps=10, print_every_steps=1) as view:
        view.begin_after(Reached.of(before))
        view.update(RUNNING, before)
        view.update(RUNNING, [*before, *after])
    lines = capsys.readouterr().err.splitlines()
    assert [" ".join(line.split()[:2]) for line in lines] == ["attempt 3:", "epoch 2"]


@pytest.mark.parametrize("record", [{}, {"device": "a new CPU"}, {"other_devices": "an old CPU"}])
def test_a_record_without_one_of_the_names_is_shown(
    capsys: pytest.CaptureFixture[str], record: Json
) -> None:
    assert "attempt 2: continuing after step 4 with 1 worker(s)" in shown(capsys, record)
