"""Whether a job's workers fit the nodes of a cluster."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cluster.capacity import (
    ResourceRequest,
    fitting_cpus,
    num_at_once,
    says_it_cannot_fit,
    why_it_cannot_fit,
    why_they_wait,
)
from orchestrator.spec.build import build_spec

counts = st.integers(0, 6).map(float)


def test_what_a_job_needs_is_what_its_fewest_workers_ask_for() -> None:
    spec = build_spec(flags={"scaling.workers": "2:4", "scaling.gpus_per_worker": 1})
    assert ResourceRequest.of(spec) == ResourceRequest(2, {"CPU": 1.0, "GPU": 1.0})
    assert ResourceRequest.of(spec).total == {"CPU": 2.0, "GPU": 2.0}


@pytest.mark.parametrize(("share", "fitting"), [(0.5, 2), (0.1, 10), (0.3, 3), (1.0, 1)])
def test_workers_may_share_a_gpu(share: float, fitting: int) -> None:
    node = {"CPU": 16.0, "GPU": 1.0}
    for workers in (fitting, fitting + 1):
        flags = {"scaling.workers": workers, "scaling.gpus_per_worker": share}
        spec = build_spec(flags={**flags, "dataset.num_shards": 16})
        reason = why_it_cannot_fit(ResourceRequest.of(spec), [node])
        assert bool(reason) == (workers > fitting)


def test_a_fraction_comes_from_one_gpu() -> None:
    """Ray never takes a fraction from two GPUs, so two of them have room for two workers of 0.6."""
    spec = build_spec(flags={"scaling.workers": 3, "scaling.gpus_per_worker": 0.6})
    assert why_it_cannot_fit(ResourceRequest.of(spec), [{"CPU": 16.0, "GPU": 2.0}])
    assert not why_it_cannot_fit(ResourceRequest.of(spec), [{"CPU": 16.0, "GPU": 3.0}])


def test_the_reason_names_the_largest_node_if_no_node_can_hold_a_worker() -> None:
    need = ResourceRequest(1, {"CPU": 4.0, "GPU": 1.0})
    reason = why_it_cannot_fit(need, [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 2.0}])
    assert reason == (
        "a worker needs 4 CPU and 1 GPU, the largest of 2 node(s) has 8 CPU and 2 GPU"
    )


def test_a_cluster_without_nodes_cannot_hold_a_worker() -> None:
    reason = why_it_cannot_fit(ResourceRequest(1, {"CPU": 1.0}), [])
    assert reason == "a worker needs 1 CPU, the largest of 0 node(s) has 0 CPU"


@given(st.lists(counts, max_size=5), st.integers(1, 5), st.integers(1, 3).map(float))
def test_there_is_no_reason_exactly_if_all_workers_can_be_placed(
    cpus: list[float], workers: int, each: float
) -> None:
    reason = why_it_cannot_fit(ResourceRequest(workers, {"CPU": each}), [{"CPU": n} for n in cpus])
    assert bool(reason) == (sum(int(n // each) for n in cpus) < workers)
    assert bool(reason) == says_it_cannot_fit(reason)


TWO = ResourceRequest(2, {"CPU": 2.0})


def waiting(has: list[float], free: list[float]) -> tuple[str, str]:
    return why_they_wait(TWO, [{"CPU": cpus} for cpus in has], [{"CPU": cpus} for cpus in free])


def test_workers_that_no_node_can_hold_are_to_ask_for_less() -> None:
    assert waiting([1.0, 1.0], [1.0, 1.0]) == (
        "a worker needs 2 CPU, the largest of 2 node(s) has 1 CPU",
        "ask for less: --workers, --cpus-per-worker; or wait longer: --pending-timeout",
    )


@pytest.mark.parametrize("free", [[0.0, 2.0], [1.0, 3.0], [1.0, 1.0], []])
def test_others_hold_what_is_not_free_where_the_workers_would_fit(free: list[float]) -> None:
    assert waiting([4.0, 4.0], free) == (
        f"2 worker(s) need 2 CPU each, {sum(free):g} CPU are free: others hold the rest",
        "ask for less: --workers, --cpus-per-worker; or wait longer: --pending-timeout",
    )


@pytest.mark.parametrize("free", [[4.0, 0.0], [2.0, 3.0]])
def test_workers_for_whom_all_is_free_need_time_and_not_less(free: list[float]) -> None:
    cause, cure = waiting([4.0, 4.0], free)
    assert cause == "2 worker(s) need 2 CPU each, which is there: Ray is still starting them"
    assert cure == "wait longer: --pending-timeout"
    assert not says_it_cannot_fit(cause)


@pytest.mark.parametrize(
    ("workers", "nodes", "number"),
    [(2, [{"CPU": 4.0}], 2), (1, [{"CPU": 2.0}, {"CPU": 1.0}], 3), (3, [{"CPU": 2.0}], 1)],
)
def test_jobs_run_side_by_side_as_far_as_their_workers_fit(
    workers: int, nodes: list[dict[str, float]], number: int
) -> None:
    assert num_at_once(ResourceRequest(workers, {"CPU": 1.0}), nodes) == number


@pytest.mark.parametrize(
    ("nodes", "num_workers", "most", "cpus"),
    [
        ([{"CPU": 8.0}, {"CPU": 8.0}], 2, 4, 4),  # no more than a worker can use
        ([{"CPU": 8.0}, {"CPU": 3.0}], 2, 8, 4),  # two of 4 on the first node
        ([{"CPU": 8.0}, {"CPU": 3.0}], 3, 8, 3),
        ([{"CPU": 0.0}, {"CPU": 2.0}], 2, 8, 1),  # a head that offers none
        ([{"CPU": 1.0}], 4, 8, 1),  # they wait for room
        ([], 2, 8, 1),
    ],
)
def test_workers_get_the_cpus_with_which_all_find_room(
    nodes: list[dict[str, float]], num_workers: int, most: int, cpus: int
) -> None:
    assert fitting_cpus({"CPU": 1.0}, num_workers, nodes, most) == cpus


def test_cpus_are_shared_where_the_gpus_are() -> None:
    nodes = [{"CPU": 64.0}, {"CPU": 8.0, "GPU": 2.0}]
    assert fitting_cpus({"CPU": 1.0, "GPU": 1.0}, 2, nodes, 8) == 4
