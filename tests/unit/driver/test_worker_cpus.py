"""The CPUs of a worker on a cluster, where the spec leaves them open."""

import pytest
import ray
import ray._private.state as state

from orchestrator.driver import worker_cpus
from orchestrator.spec.build import build_spec

NODES = {"a": {"CPU": 8.0, "GPU": 4.0}, "b": {"CPU": 4.0, "GPU": 4.0}}


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, float]]:
    """What the nodes have free: all that they have, until a test changes it."""
    free = {name: dict(node) for name, node in NODES.items()}
    monkeypatch.setattr(state, "available_resources_per_node", lambda: free)
    nodes = [{"Alive": True, "Resources": node} for node in NODES.values()]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    return free


@pytest.mark.parametrize(
    ("assignments", "cpus"),
    [
        (["scaling.workers=2"], 4),  # of 8 shards, each has four
        (["scaling.workers=3"], 3),
        (["scaling.workers=2", "dataset.num_shards=64"], 4),  # eight would find no room on b
        (["scaling.workers=1", "dataset.num_shards=64"], 8),
        (["scaling.workers=1:3"], 1),
        (["scaling.workers=2", "scaling.gpus_per_worker=1"], 1),
        (["scaling.workers=2", "scaling.cpus_per_worker=3"], 3),
        (["scaling.workers=1:3", "scaling.cpus_per_worker=3"], 3),
    ],
)
def test_a_worker_gets_what_it_can_use_and_is_free(assignments: list[str], cpus: int) -> None:
    assert worker_cpus.cpus_on_cluster(build_spec(assignments=assignments)) == cpus


def test_what_others_hold_is_not_asked_for(free: dict[str, dict[str, float]]) -> None:
    spec = build_spec(assignments=["scaling.workers=2"])
    free["a"]["CPU"], free["b"]["CPU"] = 5.0, 1.0
    assert worker_cpus.cpus_on_cluster(spec) == 2
    free["a"]["CPU"] = 0.0
    assert worker_cpus.cpus_on_cluster(spec) == 1


def test_after_a_lost_driver_what_its_workers_held_is_waited_for(
    free: dict[str, dict[str, float]],
) -> None:
    spec = build_spec(assignments=["scaling.workers=2"])
    free["a"]["CPU"] = 0.0

    def the_workers_end() -> None:
        free["a"]["CPU"] = 8.0

    assert worker_cpus.settled_cpus_on_cluster(spec, the_workers_end) == 4


def test_what_others_hold_is_not_waited_for_long(
    free: dict[str, dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_cpus, "_SETTLE_S", 0.1)
    monkeypatch.setattr(worker_cpus, "_POLL_S", 0.05)
    free["a"]["CPU"] = 2.0
    spec = build_spec(assignments=["scaling.workers=2"])
    assert worker_cpus.settled_cpus_on_cluster(spec, lambda: None) == 2
