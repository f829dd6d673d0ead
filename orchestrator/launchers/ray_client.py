"""Ray's own client of Ray Jobs, made fit for use: a timeout, silence, errors of one kind."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import ray
from ray.job_submission import JobSubmissionClient

from orchestrator.cluster.connection import VARIABLES as ADDRESS_VARIABLES
from orchestrator.cluster.connection import Connection
from workers.errors import ClusterError

_TIMEOUT_S = 30.0
_CHATTY = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env.packaging",
)


class RayClient(JobSubmissionClient):  # type: ignore[misc]  # Ray is not typed
    """Ray's client with a timeout: its own would wait for ever on a dead proxy."""

    def _do_request(self, *arguments: Any, **options: Any) -> Any:
        options.setdefault("timeout", _TIMEOUT_S)
        return super()._do_request(*arguments, **options)


def ray_client(connection: Connection, verify: bool) -> RayClient:
    """A client that has spoken with the cluster. Raises what `explained` explains."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    with _without(*ADDRESS_VARIABLES):
        return RayClient(connection.address, headers=dict(connection.headers), verify=verify)


@contextlib.contextmanager
def _without(*names: str) -> Iterator[None]:
    """Ray's client lets these beat its argument; here the flag wins."""
    kept = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
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
            f"see rnnjob doctor --address {address}, and the dashboard",
        ) from error
