"""Ray's own client of Ray Jobs, with a timeout, no chatter, and errors of one kind."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray.job_submission import JobSubmissionClient

from orchestrator.cluster.connection import VARIABLES as ADDRESS_VARIABLES
from orchestrator.cluster.connection import Connection
from orchestrator.cluster.ray_jobs_api import find_job
from workers.errors import ClusterError

_TIMEOUT_S = 30.0
_POLL_S = 0.25
_RAY_SEES_AN_END_WITHIN_S = 2.0
_RECORD_RETURNS_WITHIN_S = 3.0
_CHATTY_LOGGERS = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)


class RayClient(JobSubmissionClient):  # type: ignore[misc]  # Ray is not typed
    """Ray's client with a timeout, since its own would wait for ever for a proxy that is dead, and
    without redirects, which would take the headers to another host."""

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        options.setdefault("timeout", _TIMEOUT_S)
        options.setdefault("allow_redirects", False)
        return super()._do_request(*arguments, **options)


def ray_client(connection: Connection) -> RayClient:
    """Return a client that has spoken with the cluster. Raises what `explained` explains."""
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    with _without_variables(*ADDRESS_VARIABLES):
        return RayClient(
            connection.address, headers=dict(connection.headers), verify=connection.verify
        )


@contextlib.contextmanager
def _without_variables(*names: str) -> Iterator[None]:
    """Hide environment variables that Ray's client prefers to its argument: here the flag wins."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn the errors of Ray's client into ClusterError."""
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
            f"see rnnjob doctor --address {address}, and the dashboard",
        ) from error


def delete_record(connection: Connection, client: RayClient, job_id: str) -> None:
    """Remove what Ray remembers of a job that has ended.

    Ray looks after a job once a second. If the record is deleted before Ray saw the end, Ray takes
    the job for one whose process died, and writes a record of that. So Ray is given time to see it,
    and what it writes nevertheless is deleted, too.

    Raises ClusterError, and what `explained` explains.
    """
    time.sleep(_RAY_SEES_AN_END_WITHIN_S)
    client.delete_job(job_id)
    if _record_returns(connection, job_id):
        client.delete_job(job_id)


def _record_returns(connection: Connection, job_id: str) -> bool:
    end = time.monotonic() + _RECORD_RETURNS_WITHIN_S
    while time.monotonic() < end:
        if find_job(connection, job_id):
            return True
        time.sleep(_POLL_S)
    return False
