"""The trackers that this user has named. Only they are sent something, with the user's credentials.

A run's spec may name one, too, but anybody may have written it.
"""

import importlib.util
import os

from orchestrator.cluster import known_addresses
from orchestrator.spec.job_spec import JobSpec
from orchestrator.spec.tracker_uri import check_tracker_uri
from orchestrator.tracking.mlflow_errors import EXTRA
from workers.errors import InputError

_VARIABLE = "MLFLOW_TRACKING_URI"


def named_tracker(uri: str) -> str:
    """Return the URI of a tracker that the user names, and remember it. Raises InputError."""
    try:
        uri = check_tracker_uri(uri)
    except ValueError as error:
        cause, _, cure = str(error).partition(" | ")
        raise InputError(cause.replace("tracking.mlflow", "--mlflow", 1), cure) from error
    known_addresses.remember(uri)
    return uri


def recorded_tracker(spec: JobSpec, source: str, option: str) -> str | None:
    """Return the tracker that a run's spec names; None without one.

    Args:
        source: the run's id, for the error text.
        option: the flag with which the user can name it.

    Raises InputError if the user has never named that tracker.
    """
    uri = spec.tracking.mlflow
    in_environment = os.environ.get(_VARIABLE, "").rstrip("/")
    if uri is None or uri == in_environment or known_addresses.is_remembered(uri):
        return uri
    raise InputError(
        f"{source} names the tracker {uri}, which you have not used before",
        f"if you trust it: {option}{uri}",
    )


def tracker_for(spec: JobSpec, source: str, named: str | None) -> str:
    """Return the tracker that a run is to be sent to: the named one, or that of its spec.

    Raises InputError, as the two above do, or if there is none.
    """
    if named:
        return named_tracker(named)
    if uri := recorded_tracker(spec, source, "--mlflow "):
        return uri
    raise InputError(
        f"the spec of {source} names no tracker", "name one: --mlflow http://HOST:5000"
    )


def check_installed(spec: JobSpec) -> None:
    """Raise InputError if a job of this machine has a tracker, and nothing to send with."""
    if spec.tracking.mlflow and importlib.util.find_spec("mlflow") is None:
        raise InputError(
            f"tracking.mlflow is {spec.tracking.mlflow}, and the package mlflow is not installed",
            f"{EXTRA}, or leave it out: --set tracking.mlflow=null",
        )
