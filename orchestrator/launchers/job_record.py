"""The end of a job of Ray Jobs, and the removal of what Ray remembers of it."""

import time
from typing import TYPE_CHECKING

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.jobs import RayJob, find_job

if TYPE_CHECKING:
    from orchestrator.launchers.ray_client import RayClient

_POLL_S = 0.25
_RAY_LOOKS_AGAIN_S = 2.0


def wait_for_end(there: Connection, job_id: str, timeout_s: float) -> RayJob | None:
    """The job as it is then: not terminal if it took too long, None if it is not known.

    Raises ClusterError.
    """
    end = time.monotonic() + timeout_s
    while (job := find_job(there, job_id)) and not job.is_terminal and time.monotonic() < end:
        time.sleep(_POLL_S)
    return job


def delete_record(there: Connection, client: "RayClient", job_id: str) -> None:
    """Of a job that has ended. Raises ClusterError, and what `ray_client.explained` explains."""
    client.delete_job(job_id)
    if _comes_back(there, job_id):
        client.delete_job(job_id)


def _comes_back(there: Connection, job_id: str) -> bool:
    """Ray looks after a job once a second. If it was deleted before Ray saw its end, Ray takes it
    for one whose process died, and writes a record of that."""
    end = time.monotonic() + _RAY_LOOKS_AGAIN_S
    while time.monotonic() < end:
        if find_job(there, job_id):
            return True
        time.sleep(_POLL_S)
    return False
