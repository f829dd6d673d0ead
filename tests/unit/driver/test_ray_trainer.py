"""What a job's driver learns from Ray of why its workers have not started."""

import pytest
import ray
import ray._private.state as state

from orchestrator.driver import ray_trainer
from orchestrator.driver.ray_trainer import why_they_wait_now
from orchestrator.spec.build import build_spec

SPEC = build_spec(assignments=["scaling.workers=2", "scaling.cpus_per_worker=2"])


@pytest.fixture(autouse=True)
def cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that has lost a node, and of whose other one a CPU is free."""
    nodes = [
        {"Alive": False, "Resources": {"CPU": 8.0}},
        {"Alive": True, "Resources": {"CPU": 2.0}},
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(state, "available_resources_per_node", lambda: {"b": {"CPU": 1.0}})
    monkeypatch.setattr(ray_trainer, "holds_resources", lambda: False)


def test_a_node_that_is_lost_offers_nothing() -> None:
    cause = "2 workers need 2 CPU each, the 1 node(s) have room for 1"
    assert why_they_wait_now(SPEC).cause == cause


def test_what_is_free_counts_for_workers_that_would_fit() -> None:
    one = SPEC.with_values({"scaling.workers": 1})
    cause = "1 worker(s) need 2 CPU each, 1 CPU are free: others hold the rest"
    assert why_they_wait_now(one).cause == cause


def test_workers_that_have_their_resources_are_only_to_be_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_trainer, "holds_resources", lambda: True)
    cause = "2 worker(s) need 2 CPU each, which is there: Ray is still starting them"
    assert why_they_wait_now(SPEC) == (cause, "wait longer: --pending-timeout")
