"""How to reach a cluster: the address of its dashboard and the headers that it asks for."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from orchestrator.cluster import state
from workers.errors import InputError

VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
_DASHBOARD_PORT = 8265
_GCS_PORT = 6379
_CURE = f"name the dashboard, http://HOST:{_DASHBOARD_PORT}, or a cluster of rnnjob cluster up"


@dataclass(frozen=True)
class Connection:
    """Base URL of a dashboard, without a slash at its end, and headers for every request.

    The headers hold the token: they are for requests, never for a log or a record.
    """

    address: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    verify: bool = True
    """Whether a certificate that cannot be checked is an error."""


def given_address(address: str | None) -> str | None:
    """The address as the user gave it: the argument, else RAY_API_SERVER_ADDRESS, else RAY_ADDRESS.

    None where no cluster was named at all.
    """
    return _given(address)[0] or None


def connection(address: str | None = None) -> Connection:
    """Address and headers of the cluster that the user means; nothing is asked of the cluster.

    The address may be a URL, HOST:PORT, HOST (port 8265) or the name of a cluster that `rnnjob
    cluster up --local` started. The token is the first of RAY_AUTH_TOKEN, the file
    RAY_AUTH_TOKEN_PATH, that of the local cluster at this address, ~/.ray/auth_token; a local
    cluster asked for by its name is reached with its own. Without any, no header is sent.

    Raises:
        InputError: no address, one that is no dashboard's, or a token that cannot be read.
        NoSuchClusterError: the address is `local`, and there is no such cluster.
    """
    given, source = _given(address)
    if not given:
        raise InputError(
            "no cluster was named", f"--address URL, or export {VARIABLES[0]}=URL; {_CURE}"
        )
    if given == state.DEFAULT_NAME or state.exists(given):
        return to_local(state.find(given))
    url = normalised(given, source)
    return Connection(url, _headers(_find_token(url)))


def to_local(cluster: state.LocalCluster) -> Connection:
    """The way to a local cluster, with its own token. Raises InputError where there is none yet, or
    on this machine."""
    state.check_host(cluster)
    if not cluster.address:
        raise InputError(
            f"the local cluster '{cluster.name}' is not up yet",
            f"wait for rnnjob cluster up; if it is gone: rnnjob cluster down {cluster.name}",
        )
    return Connection(cluster.address, _headers(_read_token(Path(cluster.token_path))))


def normalised(address: str, source: str = "the address") -> str:
    """`http://HOST:PORT` of what a person writes.

    Raises InputError for what Ray takes elsewhere but is no dashboard: auto, ray://, a GCS port.
    """
    if address == "auto":
        raise InputError(f"{source} '{address}' names no dashboard", _CURE)
    parts = _split(address, source)
    if parts.scheme not in ("http", "https"):
        kind = "a Ray Client" if parts.scheme == "ray" else f"a {parts.scheme}://"
        raise InputError(f"{source} '{address}' is {kind} address, not a dashboard's", _CURE)
    if parts.port == _GCS_PORT:
        raise InputError(
            f"{source} '{address}' is that of Ray's GCS (port {_GCS_PORT}), not of the dashboard",
            _CURE,
        )
    is_bare = "://" not in address and parts.port is None
    port = f":{_DASHBOARD_PORT}" if is_bare else ""
    return f"{parts.scheme}://{parts.netloc}{port}{parts.path.rstrip('/')}"


def _split(address: str, source: str) -> SplitResult:
    """Raises InputError where it has no host, or a port that is none."""
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        usable = bool(parts.hostname) and parts.port != 0 and address.isprintable()
    except ValueError:
        usable = False
    if not usable or " " in address:
        raise InputError(f"{source} '{address}' is no address", _CURE)
    return parts


def _given(address: str | None) -> tuple[str, str]:
    """What was given, and where, for messages."""
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
        return _checked(token, "RAY_AUTH_TOKEN")
    if path := os.environ.get("RAY_AUTH_TOKEN_PATH", "").strip():
        return _read_token(Path(path).expanduser())
    if cluster := state.at_address(address):
        return _read_token(Path(cluster.token_path))
    default = Path.home() / ".ray" / "auth_token"
    return _read_token(default) if default.exists() else None


def _read_token(path: Path) -> str:
    try:
        return _checked(path.read_text().strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the token file {path} cannot be read: {getattr(error, 'strerror', None) or error}",
            "let RAY_AUTH_TOKEN_PATH name the cluster's token file, or unset it",
        ) from error


def _checked(token: str, where: str) -> str:
    """The token, if it can stand in a header; the message must not show it."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InputError(
            f"{where} holds no token", "take the one that the cluster was started with"
        )
    return token
