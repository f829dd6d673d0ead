"""The elastic policy has a checkpoint taken before it resizes a running job."""

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ray.train")

from ray.train import ScalingConfig
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision

from orchestrator.driver import elastic
from orchestrator.driver.elastic import CheckpointFirst
from tests.conftest import wait_for
from workers.records.resize import ResizeAnswers
from workers.records.run_folder import RunFolder

RUNNING = SimpleNamespace(start_time=0.0, num_workers=1)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    (tmp_path / "run").mkdir()
    return RunFolder.at(str(tmp_path / "run"))


@pytest.fixture
def policy(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> CheckpointFirst:
    """A policy of a job that runs with one worker, on a cluster with room for `nodes`."""
    config = ScalingConfig(num_workers=(1, 3), elastic_resize_monitor_interval_s=0.0)
    policy = CheckpointFirst(config, run.storage.uri)
    monkeypatch.setattr(policy, "_maybe_send_resource_request", lambda: None)
    monkeypatch.setattr(policy, "_get_reserved_resources", lambda: policy.nodes)
    policy.nodes = {"a": {"CPU": 1.0}}
    return policy


def decide(policy: CheckpointFirst) -> object:
    return policy.make_decision_for_running_worker_group(RUNNING, None)


def test_growth_waits_for_the_checkpoint(policy: CheckpointFirst, run: RunFolder) -> None:
    answers = ResizeAnswers(run)
    assert isinstance(decide(policy), NoopDecision) and not answers.is_asked()
    policy.nodes["b"] = {"CPU": 1.0}
    assert isinstance(decide(policy), NoopDecision)
    wait_for(answers.is_asked)
    assert isinstance(decide(policy), NoopDecision)
    run.write_json(run.RESIZE, {"id": answers._id, "answered": True})
    decision = wait_for(lambda: isinstance(found := decide(policy), ResizeDecision) and found)
    assert decision.num_workers == 2


def test_a_node_that_is_gone_by_then_is_no_longer_grown_onto(
    policy: CheckpointFirst, run: RunFolder
) -> None:
    answers = ResizeAnswers(run)
    policy.nodes["b"] = {"CPU": 1.0}
    decide(policy)
    wait_for(answers.is_asked)
    run.write_json(run.RESIZE, {"id": answers._id, "answered": True})
    del policy.nodes["b"]
    wait_for(lambda: decide(policy) and policy._asked_at is None)
    assert isinstance(decide(policy), NoopDecision)


def test_a_worker_that_does_not_answer_or_cannot_be_asked_does_not_prevent_growth(
    policy: CheckpointFirst, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.nodes["b"] = {"CPU": 1.0}
    assert isinstance(decide(policy), NoopDecision)
    monkeypatch.setattr(elastic, "_ANSWER_S", 0.0)
    assert isinstance(decide(policy), ResizeDecision)
    run.storage.delete()
    assert isinstance(decide(policy), ResizeDecision)
    assert not run.storage.exists()
