"""A job on a cluster that is gone, with its record, when this returns."""

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.jobs import RayJob, find_job
from orchestrator.launchers.job_record import delete_record, wait_for_end
from workers.errors import ClusterError

if TYPE_CHECKING:
    from orchestrator.launchers.ray_client import RayClient

_END_S = 15.0
"""How long a job that is stopped may take to be gone; Ray ends it after three seconds."""


@dataclass(frozen=True)
class Ended:
    """What became of it."""

    job: RayJob | None
    """As it was before it was removed: not terminal if it took too long, None if it got lost."""
    log: str
    took_s: float
    is_removed: bool


def run_short_job(
    there: Connection, job_id: str, entrypoint: str, runtime_env: dict[str, Any], timeout_s: float
) -> Ended:
    """Runs a job for `timeout_s` at most. Raises ClusterError where the cluster refuses it."""
    from orchestrator.launchers.ray_client import explained, ray_client

    begun = time.monotonic()
    with explained(there.address):
        client = ray_client(there, there.verify)
        try:
            client.submit_job(entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime_env)
            job = wait_for_end(there, job_id, timeout_s)
            log = client.get_job_logs(job_id) if job else ""
            took_s = time.monotonic() - begun
        finally:
            is_removed = _remove(there, client, job_id)
    return Ended(job, log, took_s, is_removed)


def _remove(there: Connection, client: "RayClient", job_id: str) -> bool:
    """Whether nothing of it is left, as far as the cluster tells."""
    with contextlib.suppress(ClusterError, RuntimeError, OSError):
        job = find_job(there, job_id)
        if job is None:
            return True
        if not job.is_terminal:
            client.stop_job(job_id)
            wait_for_end(there, job_id, _END_S)
        delete_record(there, client, job_id)  # refused while it runs
        return True
    return False
