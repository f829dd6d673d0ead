"""The clusters that this user has named. Only they are sent the user's token and headers.

A record may name a cluster, too, but anybody may have written it. The user names a cluster with
--address, with the environment, or by starting one here. What was used once is remembered.
"""

import contextlib
import json
import os
import secrets
from pathlib import Path

from orchestrator.cluster import local_registry
from orchestrator.cluster.connection import VARIABLES, Connection, connection, normalise_address
from workers.errors import InputError
from workers.storage.typed_json import parse_object

SCHEMA_VERSION = 1


def named_connection(address: str | None) -> Connection:
    """Return the connection to the cluster that the user names, and remember its address.

    No request is sent. Raises InputError or NoSuchClusterError, as `connection` does.
    """
    named = connection(address)
    remember(named.address)
    return named


def remember(url: str) -> None:
    """Remember that the user has named a URL: a cluster's, or a tracker's."""
    if url not in _remembered():
        with contextlib.suppress(OSError):  # then the user has to name it again another time
            _remember(url)


def is_remembered(url: str) -> bool:
    """Return whether the user has ever named a URL."""
    return url in _remembered()


def recorded_connection(address: str, source: str, named: str = "") -> Connection:
    """Return the connection to a cluster that a record names. No request is sent.

    Args:
        source: what the record is about, for error texts.
        named: the base URL of a cluster that the user names now.

    Raises InputError if the user has never named that cluster, or as `connection` does.
    """
    found = connection(address)
    if found.address != named and not _is_known(found.address):
        raise InputError(
            f"{source} names the cluster {found.address}, which you have not used before",
            f"if you trust it: --address {found.address}",
        )
    return found


def _is_known(url: str) -> bool:
    return (
        url in _in_environment()
        or url in _remembered()
        or local_registry.find_by_address(url) is not None
    )


def _in_environment() -> set[str]:
    """Return the base URLs that the environment names now."""
    urls = set()
    for name in VARIABLES:
        with contextlib.suppress(InputError):  # Ray accepts other addresses there, too
            urls.add(normalise_address(os.environ.get(name, "").strip(), name))
    return urls


def _path() -> Path:
    return local_registry.state_dir() / "known_addresses.json"


def _remembered() -> list[str]:
    """Return the addresses in the file. One that cannot be read holds none."""
    try:
        addresses = parse_object(_path().read_bytes()).get("addresses")
    except (OSError, ValueError):
        return []
    return addresses if isinstance(addresses, list) else []


def _remember(url: str) -> None:
    """Add an address to the file. Raises OSError if it cannot be written."""
    path = _path()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    content = {"schema_version": SCHEMA_VERSION, "addresses": [*_remembered(), url]}
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        local_registry.write_private(temporary, json.dumps(content, indent=2))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
