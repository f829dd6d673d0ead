"""The URI of a tracker: an MLflow server, without a password."""

from urllib.parse import urlsplit

_EXAMPLE = "http://HOST:5000"
_CURE_CREDENTIALS = (
    "leave them out, and put MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, into the environment; on a cluster: --secret MLFLOW_TRACKING_TOKEN"
)


def check_tracker_uri(uri: str) -> str:
    """Return the URI of an MLflow server without a slash at its end.

    Raises ValueError with a cause and a cure, split by `|`. It shows no password.
    """
    if "@" in uri or "?" in uri or "#" in uri:
        raise ValueError(
            "tracking.mlflow holds a user, a password or options, and a spec is written to the run"
            f" folder | {_CURE_CREDENTIALS}"
        )
    try:
        parts = urlsplit(uri)
        is_server = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number
        is_server = False
    if not is_server or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise ValueError(
            f"tracking.mlflow is {uri[:200]!r}, and only an MLflow server can be sent to"
            f" | write {_EXAMPLE}; over files or a database: mlflow server "
            "--backend-store-uri sqlite:///mlflow.db"
        )
    return uri.rstrip("/")
