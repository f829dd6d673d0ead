"""A job on an existing Ray cluster, through Ray Jobs."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from orchestrator.cluster.connection import VARIABLES as ADDRESS_VARIABLES
from orchestrator.cluster.connection import Connection
from orchestrator.launchers.request import Shipping, build_request
from workers.errors import ClusterError
from workers.run_folder import RunFolder
from workers.secrets import write_package

_TIMEOUT_S = 30.0
_POLL_S = 1.0
_CHATTY = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)


class _Client(JobSubmissionClient):  # type: ignore[misc]  # Ray is not typed
    """Ray's client with a timeout: its own would wait for ever on a dead proxy."""

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        options.setdefault("timeout", _TIMEOUT_S)
        return super()._do_request(*arguments, **options)


class RayJobsLauncher:
    """Hands the job to the cluster; what happens to it there is read from its run folder."""

    mode = "cluster"
    leaves_on_interrupt = True

    def __init__(self, connection: Connection, verify: bool, shipping: Shipping) -> None:
        self._connection, self._verify, self._shipping = connection, verify, shipping
        self._connected: _Client | None = None
        self._asked = 0.0
        self._alive = True

    def submit(self, run: RunFolder) -> None:
        """Submits once: a job of that id that is there already is taken for this one."""
        storage = run.storage.uri.partition("?")[0].rpartition("/")[0]
        request = build_request(run.run_id, run.storage.uri, storage, self._shipping)
        with _explained(self._connection.address):
            if self._details(run) is not None:
                return
            with tempfile.TemporaryDirectory(prefix="rnnjob-") as scratch:
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

    def is_alive(self, run: RunFolder) -> bool:
        """Asked of the cluster once a second at most. A cluster that cannot be reached right now
        changes nothing: the job may well go on."""
        if self._alive and time.monotonic() - self._asked > _POLL_S:
            self._asked = time.monotonic()
            with contextlib.suppress(ClusterError), _explained(self._connection.address):
                details = self._details(run)
                self._alive = details is not None and not details.status.is_terminal()
        return self._alive

    def kill(self, run: RunFolder) -> None:
        with _explained(self._connection.address):
            self._client().stop_job(run.run_id)

    def why_it_ended(self, run: RunFolder) -> str:
        """What Ray says of a job that ended, in one line; empty where it says nothing."""
        with contextlib.suppress(ClusterError), _explained(self._connection.address):
            details = self._details(run)
            if details is None:
                return "the cluster does not know the job: it was restarted since"
            if details.status == JobStatus.STOPPED:
                return "stopped through Ray Jobs"
            return " ".join((details.message or "").split())[:500]
        return "the cluster cannot be reached"

    def _details(self, run: RunFolder) -> JobDetails | None:
        try:
            return self._client().get_job_info(run.run_id)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return None
            raise

    def _client(self) -> _Client:
        if self._connected is None:
            for name in _CHATTY:
                logging.getLogger(name).setLevel(logging.ERROR)
            with _without(*ADDRESS_VARIABLES):
                self._connected = _Client(
                    self._connection.address,
                    headers=dict(self._connection.headers),
                    verify=self._verify,
                )
        return self._connected


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Ray's client lets these beat its argument; here the flag wins."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """Ray's errors as ClusterError."""
    try:
        yield
    except ray.exceptions.AuthenticationError as error:
        raise ClusterError(
            f"the cluster at {address} refuses the token",
            "export RAY_AUTH_TOKEN_PATH=FILE with the token that the cluster was started with",
        ) from error
    except (OSError, RuntimeError, ValueError) as error:
        first = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise ClusterError(
            f"the cluster at {address} refuses: {first[:300]}",
            "see rnnjob doctor --address, and the dashboard",
        ) from error
