"""A job whose client is on another platform than the cluster ends at once, with both values."""

import json
import platform
import sys
from importlib import metadata
from pathlib import Path

import pytest

from orchestrator import runs
from orchestrator.driver import client_platform
from orchestrator.driver.client_platform import tell_driver
from orchestrator.driver.execute import execute
from orchestrator.runs import RunStatus
from tests.unit.fakes import FakeTrainer, finished, tiny_spec
from workers.storage.storage import Storage

NAMES = ("operating system", "processor architecture", "Python", "Ray", "torch")


def run_of_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch, others: dict[str, str], **values: object
) -> tuple[RunStatus, list[str]]:
    """Execute a job, and return its outcome and what its trainer was asked for."""
    ((name, value),) = tell_driver().items()
    told = {**json.loads(value), **others}
    monkeypatch.setenv(name, json.dumps(told))
    spec = tiny_spec(folder, **values)
    run = runs.create_run(Storage(spec.storage), "run-1", spec.to_yaml(), "cluster", "http://x:1")
    trainer = FakeTrainer(lambda run, plan: finished())
    return execute(run, trainer), trainer.seen


def test_the_client_says_what_it_is() -> None:
    ((_, value),) = tell_driver().items()
    told = json.loads(value)
    assert tuple(told) == NAMES
    assert told["operating system"] == sys.platform
    assert told["processor architecture"] == platform.machine()
    assert told["torch"] == metadata.version("torch").partition("+")[0]


def test_a_job_of_the_same_platform_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_of_client(tmp_path, monkeypatch, {})[0].state == runs.SUCCEEDED


@pytest.mark.parametrize("name", NAMES)
def test_a_mismatch_ends_the_job_before_anything_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    status, seen = run_of_client(tmp_path, monkeypatch, {name: "another"})
    ours = client_platform._this_platform()[name]
    assert (status.state, status.exit_code, seen) == (runs.FAILED, 3, [])
    assert status.reason == (
        f"this node of the cluster has {name} {ours}, and the client that sent the job has another"
    )
    assert ("mixed_hardware=allow" in status.cure) == (name == "torch")


def test_another_torch_may_be_allowed_and_a_client_without_it_is_no_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = {"limits.mixed_hardware": "allow"}
    one = run_of_client(tmp_path / "1", monkeypatch, {"torch": "1.0"}, **allowed)
    other = run_of_client(tmp_path / "2", monkeypatch, {"torch": ""})
    assert one[0].state == other[0].state == runs.SUCCEEDED
