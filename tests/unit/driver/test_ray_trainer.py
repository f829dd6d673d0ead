"""What a job that waits for its workers says is missing."""

import pytest

from orchestrator.driver.ray_trainer import STILL_STARTING, what_is_missing
from orchestrator.spec.build import build_spec

SPEC = build_spec(assignments=["scaling.workers=2", "scaling.cpus_per_worker=2"])


def missing(has: list[float], free: list[float]) -> str:
    nodes = [{"Alive": True, "Resources": {"CPU": cpus}} for cpus in has]
    return what_is_missing(SPEC, nodes, [{"CPU": cpus} for cpus in free])


def test_what_no_node_can_offer_comes_first() -> None:
    assert missing([1.0, 1.0], [1.0, 1.0]) == (
        "a worker needs 2 CPU, the largest of 2 node(s) has 1 CPU"
    )


@pytest.mark.parametrize("free", [[0.0, 2.0], [1.0, 3.0], [1.0, 1.0], []])
def test_others_hold_what_is_not_free_where_a_worker_fits(free: list[float]) -> None:
    assert missing([4.0, 4.0], free) == (
        f"2 worker(s) need 2 CPU each, {sum(free):g} CPU are free: others hold the rest"
    )


@pytest.mark.parametrize("free", [[4.0, 0.0], [2.0, 3.0]])
def test_nobody_else_is_named_while_there_is_room(free: list[float]) -> None:
    assert missing([4.0, 4.0], free) == (
        f"2 worker(s) need 2 CPU each, {sum(free):g} CPU are free: {STILL_STARTING}"
    )


def test_a_node_that_is_lost_offers_nothing() -> None:
    nodes = [{"Alive": False, "Resources": {"CPU": 8.0}}, {"Alive": True, "Resources": {"CPU": 2}}]
    assert what_is_missing(SPEC, nodes, [{"CPU": 2.0}]) == (
        "2 workers need 2 CPU each, the 1 node(s) have room for 1"
    )
