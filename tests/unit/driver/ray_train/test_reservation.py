"""What a lost controller held for its workers is removed, and nothing of other jobs."""

import time

import pytest

from orchestrator.driver.ray_train import reservation
from orchestrator.driver.ray_train.reservation import (
    RenewedReservation,
    groups_of_job,
    holds_resources,
    remove_placement_groups,
)
from tests.conftest import wait_for

_MINE, _OTHERS = "02000000", "03000000"
_TABLE = {
    f"1c7b317eb087168681f0e61c78f6{_MINE}": {"state": "CREATED"},
    f"04e721ed9cbb061f26addd79fc8a{_MINE}": {"state": "REMOVED"},
    f"4c650b6b4253b2accca90dba8def{_MINE}": {"state": "PENDING"},
    f"38a0e6c8f8a731160a249b8018de{_OTHERS}": {"state": "CREATED"},
}


def test_only_groups_of_the_job_that_are_still_held_are_found() -> None:
    found = groups_of_job(_TABLE, _MINE)
    assert [group_id[:4] for group_id in found] == ["1c7b", "4c65"]


class Context:
    """What Ray knows of the process that asks."""

    def get_job_id(self) -> str:
        return _MINE


def test_those_that_are_found_are_removed_by_their_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    removed: list[str] = []
    monkeypatch.setattr(ray, "get_runtime_context", Context)
    monkeypatch.setattr(ray.util, "placement_group_table", lambda: _TABLE)
    monkeypatch.setattr(
        ray.util, "remove_placement_group", lambda group: removed.append(group.id.hex())
    )
    remove_placement_groups()
    assert removed == groups_of_job(_TABLE, _MINE)


@pytest.mark.parametrize(
    ("mine", "others", "held"),
    [("CREATED", "PENDING", True), ("PENDING", "CREATED", False), ("REMOVED", "CREATED", False)],
)
def test_what_ray_has_given_to_this_job_is_told_from_what_it_has_not(
    mine: str, others: str, held: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    table = {f"1c7b{_MINE}": {"state": mine}, f"38a0{_OTHERS}": {"state": others}}
    monkeypatch.setattr(ray, "get_runtime_context", Context)
    monkeypatch.setattr(ray.util, "placement_group_table", lambda: table)
    assert holds_resources() == held


class Policy:
    """What a scaling policy of Ray Train does with its request."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def after_controller_start(self, train_run_context: object) -> None:
        self._send_resource_request()

    def _send_resource_request(self) -> None:
        self.told.append("asked")

    def _cancel_resource_request(self) -> None:
        self.told.append("took back")


class Renewed(RenewedReservation, Policy):
    """A policy that renews its request."""


def test_a_request_is_renewed_until_it_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.train.v2._internal.execution.scaling_policy import autoscaling_coordinator_client

    expiry = "AUTOSCALING_REQUESTS_EXPIRE_TIME_S"
    monkeypatch.setattr(autoscaling_coordinator_client, expiry, 180)
    monkeypatch.setattr(reservation, "_RENEWED_S", 0.01)
    policy = Renewed()
    policy.after_controller_start(None)
    wait_for(lambda: len(policy.told) > 3)
    policy._cancel_resource_request()
    assert policy.told[-1] == "took back" and set(policy.told[:-1]) == {"asked"}
    told = list(policy.told)
    time.sleep(0.1)
    assert policy.told == told
    assert getattr(autoscaling_coordinator_client, expiry) == 10


def test_a_request_that_was_never_made_can_be_taken_back() -> None:
    policy = Renewed()
    policy._cancel_resource_request()
    assert policy.told == ["took back"]
