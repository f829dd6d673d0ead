"""How to reach a cluster: the address of its dashboard, and the headers for each request."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from orchestrator.cluster import local_registry
from workers.errors import InputError

VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Environment variables that can name a cluster, the stronger one first."""
_DASHBOARD_PORT = 8265
_GCS_PORT = 6379
_CURE = (
    f"name the dashboard, http://HOST:{_DASHBOARD_PORT}, or a cluster that rnnjob cluster up "
    "started"
)


@dataclass(frozen=True)
class Connection:
    """The way to reach the dashboard of one cluster."""

    address: str
    """The base URL of the dashboard, without a slash at its end."""
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    """Headers for every request. They hold the token, so they must never reach a log or a file."""
    verify: bool = True
    """Whether a certificate that cannot be checked is an error."""


def given_address(address: str | None) -> str | None:
    """Return the address as the user gave it, or None if the user named no cluster.

    It is the argument, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS.
    """
    return _find_address(address)[0] or None


def connection(address: str | None = None) -> Connection:
    """Return the connection to the cluster that the user means. No request is sent.

    The address may be a URL, HOST:PORT, HOST (port 8265) or the name of a cluster that `rnnjob
    cluster up --local` started. The token is the first that exists: RAY_AUTH_TOKEN, the file
    RAY_AUTH_TOKEN_PATH, the token of the local cluster at this address, ~/.ray/auth_token. A local
    cluster that is given by its name is reached with its own token. Without a token, no header is
    sent.

    Raises:
        InputError: there is no address, it is not a dashboard's, or the token cannot be read.
        NoSuchClusterError: the address is `local`, and there is no such cluster.
    """
    given, source = _find_address(address)
    if not given:
        raise InputError(
            "no cluster was named", f"--address URL, or export {VARIABLES[0]}=URL; {_CURE}"
        )
    if given == local_registry.DEFAULT_NAME or local_registry.exists(given):
        return connection_to_local(local_registry.find(given))
    url = normalise_address(given, source)
    return Connection(url, _headers(_find_token(url)))


def connection_to_local(cluster: local_registry.LocalCluster) -> Connection:
    """Return the connection to a local cluster, with the cluster's own token.

    Raises InputError if the cluster still starts or is on another machine.
    """
    local_registry.check_host(cluster)
    if not cluster.address:
        raise InputError(
            f"the local cluster '{cluster.name}' is not up yet",
            f"wait for rnnjob cluster up; if it is gone: rnnjob cluster down {cluster.name}",
        )
    return Connection(cluster.address, _headers(_read_token(Path(cluster.token_path))))


def normalise_address(address: str, source: str = "the address") -> str:
    """Return the base URL `http://HOST:PORT` for an address that a person wrote.

    `source`: where the address comes from, for error texts. Raises InputError for addresses that
    other parts of Ray accept but that are not a dashboard's: auto, ray://, a GCS port.
    """
    if address == "auto":
        raise InputError(f"{source} '{address}' is not the address of a dashboard", _CURE)
    parts = _split(address, source)
    if parts.scheme not in ("http", "https"):
        kind = "a Ray Client" if parts.scheme == "ray" else f"a {parts.scheme}://"
        raise InputError(f"{source} '{address}' is {kind} address, not a dashboard's", _CURE)
    if parts.port == _GCS_PORT:
        raise InputError(
            f"{source} '{address}' is the address of Ray's GCS (port {_GCS_PORT}), not of the "
            "dashboard",
            _CURE,
        )
    is_bare = "://" not in address and parts.port is None
    port = f":{_DASHBOARD_PORT}" if is_bare else ""
    return f"{parts.scheme}://{parts.netloc}{port}{parts.path.rstrip('/')}"


def _split(address: str, source: str) -> SplitResult:
    """Split an address into its parts. Raises InputError if the host or the port is not usable."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        is_usable = bool(parts.hostname) and parts.port != 0 and address.isprintable()
    except ValueError:
        is_usable = False
    if not is_usable or " " in address:
        raise InputError(f"{source} '{address}' is not a valid address", _CURE)
    return parts


def _find_address(address: str | None) -> tuple[str, str]:
    """Return the address that the user gave, and its source for error texts."""
    if address is not None:
        return address.strip(), "the address"
    for name in VARIABLES:
        if value := os.environ.get(name, "").strip():
            return value, name
    return "", ""


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _find_token(address: str) -> str | None:
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return _check_token(token, "RAY_AUTH_TOKEN")
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH", "").strip():
        return _read_token(Path(path).expanduser())
    if cluster := local_registry.find_by_address(address):
        return _read_token(Path(cluster.token_path))
    default = Path.home() / ".ray" / "auth_token"
    return _read_token(default) if default.exists() else None


def _read_token(path: Path) -> str:
    try:
        return _check_token(path.read_text().strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the token file {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            "set RAY_AUTH_TOKEN_PATH to the cluster's token file, or unset it",
        ) from error


def _check_token(token: str, source: str) -> str:
    """Return the token. Raises InputError, which does not show it, if no header can hold it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{source} does not hold a valid token",
            "use the token that the cluster was started with",
        )
    return token
