"""What MLflow's client raises, as one line of cause and one of cure."""

import re
import socket
from collections.abc import Iterator

from workers.errors import TrackerError

EXTRA = "pip install 'rnnjob[mlflow]'"
CREDENTIALS = (
    "put MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, into the "
    "environment; on a cluster: --secret MLFLOW_TRACKING_TOKEN"
)
_STATUS = re.compile(r"error code (\d{3})")
_REASON = re.compile(r"\[Errno -?\d+\] ([A-Za-z][^'\")\]]*)|(certificate verify failed[^')(]*)")
_REFUSALS = (401, 403)
_MAX_TEXT = 200


def missing(error: ImportError) -> TrackerError:
    """Return why nothing can be sent from this machine."""
    return TrackerError(
        f"the package mlflow cannot be imported on {socket.gethostname()}: {error}",
        f"{EXTRA}; for a job on a cluster: --set 'env.pip=[mlflow-skinny]'",
    )


def explained(uri: str, error: Exception) -> TrackerError:
    """Return a TrackerError that says what the tracker did. It repeats no header and no body."""
    import requests

    chain = list(_chain(error))
    text = " ".join(str(each) for each in chain)
    if any(isinstance(each, requests.exceptions.Timeout) for each in chain):
        return _silent(uri, "no answer in time")
    unreachable = (requests.exceptions.ConnectionError, requests.exceptions.InvalidURL)
    if any(isinstance(each, unreachable) for each in chain):
        found = _REASON.search(text)
        return _silent(uri, (found[1] or found[2]).strip() if found else "the connection broke")
    if (status := _status(chain, text)) in _REFUSALS:
        return TrackerError(f"the tracker {uri} refuses the request ({status})", CREDENTIALS)
    what = " ".join(str(error).split("Response body:")[0].split())[:_MAX_TEXT]
    return TrackerError(
        f"the tracker {uri} does not take it: {what}",
        "see that an MLflow server is at that address, and what its log says",
    )


def takes_no_files(uri: str, folder: str) -> TrackerError:
    """Return why no file is sent to a server that names a folder of its own machine for it."""
    return TrackerError(
        f"the tracker {uri} takes no files, only its own machine can write {folder[:_MAX_TEXT]}",
        "start it with --serve-artifacts, and give the job another name: MLflow keeps the place of "
        "files for each experiment",
    )


def _silent(uri: str, why: str) -> TrackerError:
    return TrackerError(
        f"the tracker {uri} does not answer: {why}",
        "start it, or name another: --mlflow URI",
    )


def _status(chain: list[BaseException], text: str) -> int | None:
    """Return the HTTP status of the answer, if there was one."""
    for each in chain:
        response = getattr(each, "response", None)
        if response is not None:
            return int(response.status_code)
        if hasattr(each, "get_http_status_code") and each.get_http_status_code() in _REFUSALS:
            return int(each.get_http_status_code())
    found = _STATUS.search(text)
    return int(found[1]) if found else None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
