"""Run a short job on a cluster, and remove it and its record afterwards."""

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import RayJob, find_job, wait_for_end
from workers.errors import ClusterError

if TYPE_CHECKING:
    from orchestrator.launch.ray_client import RayClient

_END_S = 15.0
"""How long a stopped job may take to end. Ray kills it after three seconds."""


@dataclass(frozen=True)
class EndedJob:
    """The outcome of a short job."""

    job: RayJob | None
    """The job before it was removed. Not terminal if it took too long, None if Ray lost it."""
    log: str
    took_s: float
    """Seconds from the submission until the log was read."""
    is_removed: bool
    """Whether the job and its record were removed from the cluster."""


def run_short_job(
    connection: Connection,
    job_id: str,
    entrypoint: str,
    runtime_env: dict[str, Any],
    timeout_s: float,
) -> EndedJob:
    """Run a job for `timeout_s` at most. Raises ClusterError if the cluster refuses it."""
    from orchestrator.launch.ray_client import explained, ray_client

    started = time.monotonic()
    with explained(connection.address):
        client = ray_client(connection)
        try:
            client.submit_job(entrypoint=entrypoint, submission_id=job_id, runtime_env=runtime_env)
            job = wait_for_end(connection, job_id, timeout_s)
            log = client.get_job_logs(job_id) if job else ""
            took_s = time.monotonic() - started
        finally:
            is_removed = _remove(connection, client, job_id)
    return EndedJob(job, log, took_s, is_removed)


def _remove(connection: Connection, client: "RayClient", job_id: str) -> bool:
    """Stop a job and delete its record. Return whether this succeeded."""
    with contextlib.suppress(ClusterError, RuntimeError, OSError):
        job = find_job(connection, job_id)
        if job is None:
            return True
        if not job.is_terminal:
            client.stop_job(job_id)
            wait_for_end(connection, job_id, _END_S)
        from orchestrator.launch.ray_client import delete_record

        delete_record(connection, client, job_id)  # Ray refuses this while the job runs
        return True
    return False
