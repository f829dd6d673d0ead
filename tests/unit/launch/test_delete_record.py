"""Removing what Ray remembers of a job, though Ray may write it again."""

import pytest

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import RayJob
from orchestrator.launch import ray_client


class ClusterThatLooksLate:
    """Ray Jobs with one job that has ended, which Ray sees some seconds later.

    If the record is gone by then, Ray writes one that says that the job's process died.
    """

    def __init__(self, looks_at: float) -> None:
        self.now = 0.0
        self._looks_at = looks_at
        self._has_record, self._has_looked = True, False

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now >= self._looks_at and not self._has_looked:
            self._has_looked, self._has_record = True, True

    def monotonic(self) -> float:
        return self.now

    def delete_job(self, _: str) -> None:
        assert self._has_record
        self._has_record = False

    def find_job(self, *_: object) -> RayJob | None:
        return RayJob("FAILED") if self._has_record else None


@pytest.mark.parametrize("looks_at", [0.0, 0.9, 1.9, 2.1, 3.0, 4.5])
def test_a_deleted_record_does_not_stay_when_ray_writes_it_again(
    monkeypatch: pytest.MonkeyPatch, looks_at: float
) -> None:
    # With 3.0, the record stayed on a busy machine: it was watched for two seconds.
    cluster = ClusterThatLooksLate(looks_at)
    monkeypatch.setattr(ray_client, "time", cluster)
    monkeypatch.setattr(ray_client, "find_job", cluster.find_job)
    ray_client.delete_record(Connection("http://head:8265"), cluster, "job")  # type: ignore[arg-type]
    cluster.sleep(10.0)
    assert cluster.find_job() is None
