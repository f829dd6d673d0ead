"""The plan of the faults depends on the seed only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.drill.fault_schedule import KINDS, parse_kinds, plan_faults
from workers.errors import InputError

some_kinds = st.sets(st.sampled_from(KINDS), min_size=1)
nums = st.integers(1, 12)
steps = st.integers(20, 2000)
seeds = st.integers(0, 2**63 - 1)


@given(some_kinds, nums, steps, seeds)
def test_the_same_seed_gives_the_same_plan_however_the_kinds_are_listed(
    kinds: set[str], num: int, num_steps: int, seed: int
) -> None:
    plan = plan_faults(kinds, num, num_steps, seed)
    assert plan == plan_faults(sorted(kinds, reverse=True), num, num_steps, seed)


@given(some_kinds, nums, steps, seeds)
def test_faults_are_of_the_kinds_asked_for_at_steps_that_ascend_within_the_job(
    kinds: set[str], num: int, num_steps: int, seed: int
) -> None:
    plan = plan_faults(kinds, num, num_steps, seed)
    assert len(plan) == num
    assert {fault.kind for fault in plan} <= kinds
    at = [fault.step for fault in plan]
    assert at == sorted(set(at))
    assert at[0] >= 1 and at[-1] < num_steps - num_steps // 10


@given(some_kinds, steps, seeds)
def test_with_enough_faults_each_kind_is_equally_frequent(
    kinds: set[str], num_steps: int, seed: int
) -> None:
    num = 2 * len(kinds)
    chosen = [fault.kind for fault in plan_faults(kinds, num, num_steps, seed)]
    assert all(chosen.count(kind) == 2 for kind in kinds)


def test_seeds_give_different_plans() -> None:
    plans = {plan_faults(KINDS, 3, 100, seed) for seed in range(20)}
    assert len(plans) == 20


def test_a_job_that_is_too_short_for_its_faults_is_refused() -> None:
    with pytest.raises(InputError, match="the job has 3 steps, too few for 3 faults"):
        plan_faults(KINDS, 3, 3, 0)


def test_kinds_are_parsed_in_one_order_and_unknown_ones_refused() -> None:
    assert parse_kinds("storage, worker,storage") == ("worker", "storage")
    for text in ("", "worker,", "disk"):
        with pytest.raises(InputError, match="unknown fault"):
            parse_kinds(text)
