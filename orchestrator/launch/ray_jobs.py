"""A job on an existing Ray cluster, through Ray Jobs.

Ray's own client imports Ray and is loaded only for what changes something. Looking is plain HTTP.
"""

import contextlib
import secrets
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import runs
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import RayJob, find_job, wait_for_end
from orchestrator.cluster.requirements import (
    check_cluster,
    check_gpus,
    jobs_at_once,
    whether_it_fits,
)
from orchestrator.launch.request import (
    STOP_GRACE_S,
    JobRequest,
    Shipping,
    build_request,
    list_working_dir,
)
from orchestrator.launch.upload import Upload
from orchestrator.spec.plan import read_spec
from workers.errors import ClusterError
from workers.records.run_folder import RunFolder
from workers.secrets import HOOK, write_package
from workers.storage.storage import Storage

if TYPE_CHECKING:
    from orchestrator.launch.ray_client import RayClient
    from orchestrator.spec.job_spec import JobSpec

_POLL_S = 1.0
_END_S = STOP_GRACE_S + 10.0
"""How long a job that is stopped may take to end."""


class RayJobsLauncher:
    """Hands jobs to a cluster. What happens to a job there is read from its run folder."""

    mode = runs.CLUSTER
    leaves_on_interrupt = True

    def __init__(self, connection: Connection, shipping: Shipping | None = None) -> None:
        """`shipping`: what the user sends along with a job that is submitted."""
        self.address = connection.address
        self._connection = connection
        self._shipping = shipping or Shipping()
        self._connected: RayClient | None = None
        self._asked_at = 0.0
        self._was_alive = True

    def check(self, run: RunFolder, spec: "JobSpec", job_id: str) -> dict[str, Any]:
        nodes = check_cluster(self._connection, Storage(spec.storage))
        check_gpus(self._connection, spec, nodes)
        return {
            "cluster": self.address,
            "fits": whether_it_fits(spec, nodes),
            "jobs_at_once": jobs_at_once(spec, nodes),
            "request": self._request(run, job_id, spec.env.pip).to_json(),
        }

    def _request(self, run: RunFolder, job_id: str, pip: tuple[str, ...]) -> JobRequest:
        return build_request(job_id, run, self._shipping, self._working_dir, pip)

    @cached_property
    def _working_dir(self) -> Upload | None:
        """What is sent of the working directory: listed once, so that what was shown is sent."""
        return list_working_dir(self._shipping)

    def submit(self, run: RunFolder) -> None:
        """Submit the job once: a job that the cluster has under its id is taken for this one."""
        # Raises if there is no status: under the run's own id an earlier job may be known.
        job_id = runs.read_status(run).job_id or run.run_id
        request = self._request(run, job_id, read_spec(run).env.pip)
        if self.job(run) is None:
            self._send(request)

    def submit_program(
        self, run: RunFolder, program: tuple[str, ...], pip: tuple[str, ...]
    ) -> None:
        """Start another program than the driver of a run. Raises JobError.

        Args:
            run: the folder that the program works on.
            program: a module with its arguments.
            pip: the packages that Ray installs for it.
        """
        job_id = f"rnnjob-{secrets.token_hex(6)}"
        run.write_json(run.STATUS, {"job_id": job_id})
        self._was_alive = True
        self._send(build_request(job_id, run, self._shipping, self._working_dir, pip, program))

    def _send(self, request: JobRequest) -> None:
        from orchestrator.launch.ray_client import explained

        with (
            explained(self.address),
            tempfile.TemporaryDirectory(prefix="rnnjob-") as scratch,
        ):
            runtime_env = self._packed(request, Path(scratch))
            self._client().submit_job(
                entrypoint=request.entrypoint,
                submission_id=request.submission_id,
                runtime_env=runtime_env,
                metadata=request.metadata,
            )

    def _packed(self, request: JobRequest, scratch: Path) -> dict[str, Any]:
        """Return the runtime environment that is sent, with what Ray's client shall not choose.

        An archive of the working directory is sent as it is, whereas Ray would go through the
        folder by its own rules. Raises InputError.
        """
        runtime_env = dict(request.runtime_env)
        if request.working_dir:
            archive = scratch / "working_dir.zip"
            request.working_dir.write_zip(archive)
            runtime_env["working_dir"] = str(archive)
        if self._shipping.secrets:
            package = write_package(scratch, self._shipping.secrets)
            runtime_env["py_modules"] = [*runtime_env["py_modules"], str(package)]
            runtime_env["worker_process_setup_hook"] = HOOK
        return runtime_env

    def job(self, run: RunFolder) -> RayJob | None:
        """Return the job as Ray Jobs knows it; None if it does not. Raises ClusterError."""
        return find_job(self._connection, _job_id(run))

    def is_alive(self, run: RunFolder) -> bool:
        """Ask the cluster, once a second at most.

        A cluster that cannot be reached now changes nothing, since the job may well go on.
        """
        if self._was_alive and time.monotonic() - self._asked_at > _POLL_S:
            self._asked_at = time.monotonic()
            with contextlib.suppress(ClusterError):
                job = self.job(run)
                self._was_alive = job is not None and not job.is_terminal
        return self._was_alive

    def kill(self, run: RunFolder) -> bool:
        """Return once the job has ended, or False if it does not end. Raises ClusterError."""
        from orchestrator.launch.ray_client import explained

        job_id = _job_id(run)
        with explained(self.address):
            self._client().stop_job(job_id)
        job = wait_for_end(self._connection, job_id, _END_S)
        return job is None or job.is_terminal

    def forget(self, run: RunFolder) -> bool:
        """Remove the cluster's record of a job that has ended. Returns False if there is none.

        Raises ClusterError if the cluster cannot be asked, or the job goes on.
        """
        from orchestrator.launch.ray_client import delete_record, explained

        if self.job(run) is None:
            return False
        job_id = _job_id(run)
        # The driver writes its outcome a moment before it ends.
        wait_for_end(self._connection, job_id, _END_S)
        with explained(self.address):
            delete_record(self._connection, self._client(), job_id)
        return True

    def why_it_ended(self, run: RunFolder) -> str:
        try:
            job = self.job(run)
        except ClusterError:
            return "the cluster cannot be reached"
        if job is None:
            return "the cluster does not know the job: it was restarted since"
        return job.describe_end()

    def _client(self) -> "RayClient":
        from orchestrator.launch.ray_client import ray_client

        if self._connected is None:
            self._connected = ray_client(self._connection)
        return self._connected


def _job_id(run: RunFolder) -> str:
    """Return what Ray Jobs calls the run.

    It is read from status.json each time: a run that is followed may be resumed as another job.
    """
    return str((run.read_json(run.STATUS) or {}).get("job_id") or run.run_id)
