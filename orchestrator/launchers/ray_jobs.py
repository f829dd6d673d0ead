"""A job on an existing Ray cluster, through Ray Jobs.

Ray's own client, which imports Ray, is loaded only for what changes something; looking is plain
HTTP.
"""

import contextlib
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cluster.connection import Connection
from orchestrator.cluster.jobs import RayJob, find_job
from orchestrator.launchers.base import STOPPED_BY_OTHERS
from orchestrator.launchers.job_record import delete_record, wait_for_end
from orchestrator.launchers.request import STOP_GRACE_S, JobRequest, Shipping, build_request
from workers.errors import ClusterError
from workers.run_folder import RunFolder
from workers.secrets import write_package

if TYPE_CHECKING:
    from orchestrator.launchers.ray_client import RayClient

_POLL_S = 1.0
_END_S = STOP_GRACE_S + 10.0
"""How long a killed job may take to be gone."""


class RayJobsLauncher:
    """Hands the job to the cluster; what happens to it there is read from its run folder."""

    mode = "cluster"
    leaves_on_interrupt = True

    def __init__(
        self, connection: Connection, verify: bool, shipping: Shipping, job_id: str = ""
    ) -> None:
        """`job_id`: what Ray Jobs is to call a job that is to be submitted; else it is the run's,
        or the one that its record names."""
        self._connection, self._verify = replace(connection, verify=verify), verify
        self._shipping = shipping
        self._connected: RayClient | None = None
        self._asked = 0.0
        self._alive = True
        self._given_id = job_id

    def request(self, run: RunFolder) -> JobRequest:
        """What `submit` sends; the run's folder need not be there yet. Raises InputError."""
        return build_request(self._job_id(run), run, self._shipping)

    def submit(self, run: RunFolder) -> None:
        """Submits once: a job of that id that is there already is taken for this one."""
        from orchestrator.launchers.ray_client import explained

        request = self.request(run)
        if self.job(run) is not None:
            return
        with (
            explained(self._connection.address),
            tempfile.TemporaryDirectory(prefix="rnnjob-") as scratch,
        ):
            runtime_env = dict(request.runtime_env)
            if self._shipping.secrets:
                package = write_package(Path(scratch), self._shipping.secrets)
                runtime_env["py_modules"] = [*runtime_env["py_modules"], str(package)]
            self._client().submit_job(
                entrypoint=request.entrypoint,
                submission_id=request.submission_id,
                runtime_env=runtime_env,
                metadata=request.metadata,
            )

    def job(self, run: RunFolder) -> RayJob | None:
        """The job as Ray Jobs knows it, if it does. Raises ClusterError."""
        return find_job(self._connection, self._job_id(run))

    def _job_id(self, run: RunFolder) -> str:
        """Looked up each time: while it is watched a run may be resumed, as another job."""
        if self._given_id:
            return self._given_id
        return str((run.read_json(run.STATUS) or {}).get("job_id") or run.run_id)

    def is_alive(self, run: RunFolder) -> bool:
        """Asked of the cluster once a second at most. A cluster that cannot be reached right now
        changes nothing: the job may well go on."""
        if self._alive and time.monotonic() - self._asked > _POLL_S:
            self._asked = time.monotonic()
            with contextlib.suppress(ClusterError):
                job = self.job(run)
                self._alive = job is not None and not job.is_terminal
        return self._alive

    def kill(self, run: RunFolder) -> bool:
        """Returns when the job is gone; False where it does not go. Raises ClusterError."""
        from orchestrator.launchers.ray_client import explained

        job_id = self._job_id(run)
        with explained(self._connection.address):
            self._client().stop_job(job_id)
        job = wait_for_end(self._connection, job_id, _END_S)
        return job is None or job.is_terminal

    def forget(self, run: RunFolder) -> bool:
        """Removes the cluster's record of a job that has ended; False where there is none. Raises
        ClusterError where the cluster cannot be asked, or the job goes on."""
        from orchestrator.launchers.ray_client import explained

        if self.job(run) is None:
            return False
        job_id = self._job_id(run)
        # The driver writes its outcome a moment before it ends.
        wait_for_end(self._connection, job_id, _END_S)
        with explained(self._connection.address):
            delete_record(self._connection, self._client(), job_id)
        return True

    def why_it_ended(self, run: RunFolder) -> str:
        """What Ray says of a job that ended, in one line; empty where it says nothing."""
        try:
            job = self.job(run)
        except ClusterError:
            return "the cluster cannot be reached"
        if job is None:
            return "the cluster does not know the job: it was restarted since"
        if job.status == "STOPPED":
            return STOPPED_BY_OTHERS
        return " ".join(job.message.split())[:500]

    def _client(self) -> "RayClient":
        from orchestrator.launchers.ray_client import ray_client

        if self._connected is None:
            self._connected = ray_client(self._connection, self._verify)
        return self._connected
