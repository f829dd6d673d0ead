"""Whether a job's workers fit the nodes of a cluster."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.job_spec import build_spec
from orchestrator.room import Need, says_never, what_never_fits

counts = st.integers(0, 6).map(float)


def test_what_a_job_needs_is_what_its_fewest_workers_ask_for() -> None:
    spec = build_spec(flags={"scaling.workers": "2:4", "scaling.gpus_per_worker": 1})
    assert Need.of(spec) == Need(2, {"CPU": 1.0, "GPU": 1.0})
    assert Need.of(spec).total == {"CPU": 2.0, "GPU": 2.0}


def test_a_worker_that_no_node_can_hold_is_told_with_the_largest() -> None:
    need = Need(1, {"CPU": 4.0, "GPU": 1.0})
    told = what_never_fits(need, [{"CPU": 8.0}, {"CPU": 2.0, "GPU": 2.0}])
    assert told == ("a worker needs 4 CPU and 1 GPU, the largest of 2 node(s) has 8 CPU and 2 GPU")


def test_no_node_at_all_has_room_for_nothing() -> None:
    told = what_never_fits(Need(1, {"CPU": 1.0}), [])
    assert told == "a worker needs 1 CPU, the largest of 0 node(s) has 0 CPU"


@given(st.lists(counts, max_size=5), st.integers(1, 5), st.integers(1, 3).map(float))
def test_it_is_silent_exactly_where_all_workers_can_be_placed(
    cpus: list[float], workers: int, each: float
) -> None:
    told = what_never_fits(Need(workers, {"CPU": each}), [{"CPU": n} for n in cpus])
    assert bool(told) == (sum(int(n // each) for n in cpus) < workers)
    assert bool(told) == says_never(told)
