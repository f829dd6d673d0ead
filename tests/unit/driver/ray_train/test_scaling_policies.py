"""The elastic policy has a checkpoint taken before it resizes a running job."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("ray.train")

from ray.data._internal.cluster_autoscaler import default_autoscaling_coordinator
from ray.train import ScalingConfig
from ray.train.v2._internal.execution.scaling_policy import (
    NoopDecision,
    ResizeDecision,
    autoscaling_coordinator_client,
)

from orchestrator.driver.ray_train import scaling_policies
from orchestrator.driver.ray_train.scaling_policies import (
    AllWorkersAlone,
    CheckpointFirst,
    FixedWorkers,
)
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


def test_ray_holds_what_a_killed_job_asked_for_no_longer_than_ten_seconds(
    policy: CheckpointFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    request = SimpleNamespace(remote=lambda **words: asked.append(words))
    coordinator = SimpleNamespace(request_resources=request, cancel_request=request)
    module, name = autoscaling_coordinator_client, "get_or_create_autoscaling_coordinator"
    monkeypatch.setattr(module, name, lambda: coordinator)
    monkeypatch.setattr(module.ray, "get", lambda *_, **__: None)
    monkeypatch.setattr(module, "AUTOSCALING_REQUESTS_EXPIRE_TIME_S", 180)
    policy.after_controller_start(SimpleNamespace(run_id="r"))
    assert asked[0]["requester_id"] == "train-r"
    assert asked[0]["expire_after_s"] == 10.0
    policy._cancel_resource_request()


def test_workers_start_on_the_nodes_that_are_there_now(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's coordinator counts the nodes every 20 s, so it may not know of one that came since."""
    nodes = [{"Alive": True, "NodeID": "a", "Resources": {"CPU": 1.0}}]
    real = default_autoscaling_coordinator._AutoscalingCoordinatorActor(
        get_cluster_nodes=lambda: nodes, send_resources_request=lambda *_, **__: None
    )
    coordinator = SimpleNamespace(
        request_resources=SimpleNamespace(remote=real.request_resources),
        cancel_request=SimpleNamespace(remote=real.cancel_request),
        get_reserved_resources=SimpleNamespace(remote=real.get_reserved_resources),
    )
    module, name = autoscaling_coordinator_client, "get_or_create_autoscaling_coordinator"
    monkeypatch.setattr(module, name, lambda: coordinator)
    monkeypatch.setattr(module.ray, "get", lambda answer, **_: answer)
    policy = CheckpointFirst(ScalingConfig(num_workers=(1, 3)), run.storage.uri)
    policy.after_controller_start(SimpleNamespace(run_id="r"))
    monkeypatch.setattr(policy, "GET_RESERVED_RESOURCES_INTERVAL_S", 0)

    def workers_of_next_start() -> int:
        return int(policy.make_decision_for_non_running_worker_group().num_workers)

    assert workers_of_next_start() == 1
    nodes.append({"Alive": True, "NodeID": "b", "Resources": {"CPU": 1.0}})
    assert workers_of_next_start() == 2
    nodes[0]["Alive"] = False
    assert workers_of_next_start() == 1
    policy._cancel_resource_request()


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
    monkeypatch.setattr(scaling_policies, "_ANSWER_S", 0.0)
    assert isinstance(decide(policy), ResizeDecision)
    run.storage.delete()
    assert isinstance(decide(policy), ResizeDecision)
    assert not run.storage.exists()


@pytest.fixture
def fixed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], FixedWorkers]:
    """Makes the policy of two workers of four CPUs each. Of two nodes one is lost; of the CPUs of
    the other, some are not free."""
    alive, lost = {"CPU": 5.0}, {"CPU": 8.0}
    nodes = [{"Alive": True, "Resources": alive}, {"Alive": False, "Resources": lost}]
    monkeypatch.setattr(scaling_policies.ray, "nodes", lambda: nodes)
    free = {"a": {"CPU": 3.0}}
    monkeypatch.setattr(scaling_policies, "available_resources_per_node", lambda: free)

    def make(has_open_cpus: bool) -> FixedWorkers:
        config = ScalingConfig(num_workers=2, resources_per_worker={"CPU": 4.0})
        policy = FixedWorkers(config, has_open_cpus)
        monkeypatch.setattr(policy, "_maybe_send_resource_request", lambda: None)
        return policy

    return make


def cpus_of_next_start(policy: FixedWorkers) -> float:
    decision = policy.make_decision_for_non_running_worker_group()
    assert decision.num_workers == 2
    cpus = decision.resources_per_worker["CPU"]
    assert policy.scaling_config._resources_per_worker_not_none["CPU"] == cpus, "as requested"
    return float(cpus)


def test_after_the_loss_of_a_node_workers_start_with_the_cpus_that_are_left(
    fixed: Callable[[bool], FixedWorkers],
) -> None:
    policy = fixed(True)
    assert cpus_of_next_start(policy) == 2.0
    assert cpus_of_next_start(policy) == 1.0, "they did not start: others hold two CPUs"
    policy.make_decision_for_running_worker_group(RUNNING, None)
    assert cpus_of_next_start(policy) == 2.0, "they ran, and what they held is free soon"


def test_workers_keep_the_cpus_that_the_user_gave_them(
    fixed: Callable[[bool], FixedWorkers],
) -> None:
    policy = fixed(False)
    assert [cpus_of_next_start(policy) for _ in range(3)] == [4.0, 4.0, 4.0]


def test_on_a_ray_of_its_own_a_job_asks_nobody_for_workers() -> None:
    policy = AllWorkersAlone(ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1.0}))
    policy.after_controller_start(SimpleNamespace(run_id="r"))
    assert policy.make_decision_for_non_running_worker_group().num_workers == 2
    assert isinstance(policy.make_decision_for_running_worker_group(RUNNING, None), NoopDecision)
    policy._cancel_resource_request()
    assert policy._coordinator_client is None
